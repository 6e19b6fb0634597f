"""`make up` in bad weather: each of its calls to Azure fails once, in each of the ways in which Azure's calls fail.

One story for each kind of fault, in a clone of its own. Every operation of the API that the program uses (method and
route) is struck at its first call. What the program does not get through by itself it says, and the next `up` goes on.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

import pytest

from tests.end_to_end.conftest import Clone

pytestmark = [pytest.mark.end_to_end, pytest.mark.slow]

# An `up` that fails has met at least one fault that nothing retries; each operation of the API is struck only once.
UPS = 12
ML = "Microsoft.MachineLearningServices/workspaces/{workspace}"
# What an `up` from nothing cannot do without, so it must have been struck.
WRITES = (
    "PUT /subscriptions/{subscription}/resourceGroups/{group}",
    "Microsoft.Storage/storageAccounts/{account}",
    f"PUT {ML}",
    f"PUT {ML}/computes/{{compute}}",
    f"PUT {ML}/onlineEndpoints/{{endpoint}}",
    f"PUT {ML}/onlineEndpoints/{{endpoint}}/deployments/{{deployment}}",
    f"PUT {ML}/batchEndpoints/{{endpoint}}",
    f"PUT {ML}/batchEndpoints/{{endpoint}}/deployments/{{deployment}}",
)
RESOURCE = re.compile(r"^  [\w:/.-]+ \((?!azureml-endpoints-)[\w.-]+\):$", re.MULTILINE)
ATTEMPT = re.compile(r"raise\s+`attempt` of ([\w-]+)")
DELETE = re.compile(r"delete it\s+\(az ml online-endpoint delete, or batch-endpoint, --name ([\w-]+)\)")


@dataclass(frozen=True)
class Fault:
    """One kind of bad weather.

    Attributes:
        rule: what is asked for.
        said: what an `up` that it ends must say.
    """

    rule: dict[str, Any]
    said: str


FAULTS = {
    "throttled": Fault({"do": "answer", "status": 429, "retry_after": 1}, "being throttled"),
    "unavailable": Fault({"do": "answer", "status": 500}, "encountered an internal error"),
    "dropped": Fault({"do": "drop"}, "disconnected|RemoteDisconnected|Connection aborted"),
    "failed operation": Fault(
        {"do": "fail", "code": "OutOfCapacity", "message": "No machine is free in this region."}, "No machine is free"
    ),
}


def weather(clone: Clone, *arguments: str) -> dict[str, Any]:
    """`python -m localazure weather`, and what it prints."""
    done = clone.run(".venv/bin/python", "-m", "localazure", "weather", *arguments)
    return json.loads(done.ok().out)


def up(clone: Clone, fault: Fault) -> bool:
    """One `make up`: whether it succeeded. One that fails names a resource and the reason, and the way out is taken."""
    done = clone.make("up")
    if done.code == 0:
        return True
    assert RESOURCE.search(done.out), f"it names no resource:\n{done.out}"
    assert re.search(fault.said, done.out), f"it does not say why:\n{done.out}"
    for colour in ATTEMPT.findall(done.out):
        raise_attempt(clone, colour)
    for endpoint in set(DELETE.findall(done.out)):
        delete_endpoint(clone, endpoint)
    return False


def raise_attempt(clone: Clone, colour: str) -> None:
    """What `up` advises for a deployment whose first creation failed."""

    def change(config: dict[str, Any]) -> None:
        for endpoint in (*config["onlineEndpoints"].values(), *config["batchEndpoints"].values()):
            if found := endpoint["deployments"].get(colour):
                found["attempt"] = found.get("attempt", 0) + 1

    clone.edit(change)


def delete_endpoint(clone: Clone, name: str) -> None:
    """What `up` advises for an endpoint whose first creation failed; the deletion is struck, too, and done again."""
    script = (
        "for endpoints in (ml.online_endpoints, ml.batch_endpoints):\n"
        f"    if {name!r} in [each.name for each in endpoints.list()]:\n"
        f"        endpoints.begin_delete({name!r}).result()\n"
    )
    if clone.ml(script).code:
        clone.ml(script).ok()


def struck(report: dict[str, Any]) -> set[str]:
    """The operations of the API that were struck, as short as `WRITES` has them."""
    long = {each["operation"] for each in report["struck"]}
    return {re.sub(r" /.*/providers/", " ", each) for each in long}


@pytest.mark.parametrize("kind", FAULTS)
def test_up_gets_through_or_says_what_failed_and_the_next_one_goes_on(clone: Clone, kind: str) -> None:
    fault = FAULTS[kind]
    clone.make("setup").ok()
    clone.shell(".venv/bin/python -m localazure start").ok()
    weather(clone, json.dumps({"rules": [{"count": 1, "per": "operation", **fault.rule}]}))
    ups = 1
    while not up(clone, fault):
        ups += 1
        assert ups <= UPS, f"it does not come to an end: {weather(clone)['struck']}"
    report = weather(clone)
    assert all(each["matched"] >= each["struck"] == 1 for each in report["counts"]), "each was struck, and once"
    if kind == "failed operation":
        assert ups > 1, "nobody carries out a failed operation again by itself"
        assert len(struck(report)) >= 5, report["struck"]
    else:
        missing = [write for write in WRITES if not any(each.endswith(write) for each in struck(report))]
        assert not missing, f"the program did without: {missing}"
    weather(clone, "--reset")
    assert clone.planned() == [], "what was brought up in bad weather is what is configured"
    (endpoint,) = clone.status["onlineEndpoints"]
    assert sorted(endpoint["traffic"].values()) == [10, 90]
    clone.make("down").ok()
