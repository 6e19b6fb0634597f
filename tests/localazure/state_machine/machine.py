"""A client that does anything in any order, and a Local Azure that may end at any moment: what holds all the same."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from localazure.gateway.tokens import TokenIssuer
from tests.localazure.state_machine.front import FakeScoring, Life, Switchboard
from tests.localazure.state_machine.kinds import KINDS, Action, Json, Kind
from tests.localazure.state_machine.model import Entry, Model, differences, missing, without

NUMBERS = st.integers(0, 5)
# How a path is spelled: as it is, in small letters, in capitals.
SPELLINGS = st.sampled_from((str, str.lower, str.upper))
ENDED = ("Completed", "Failed", "Canceled")
# What the store keeps that no client created: the names of what was deleted.
MARKERS = ("softdeleted", "deletedvaults")
# What Local Azure notes for itself: whether a deployment came back at the last start.
NOTES = ("lost",)
# What jobs change of what they run on: the nodes of a cluster.
WORKING = ("pool",)
JOB = Kind("job", ("workspace",), "jobs", (), lambda world, above, number: None)
VERSIONED = tuple(name for name, kind in KINDS.items() if kind.makes_parent)


def own_rules_alone(document: dict[str, Any]) -> dict[str, Any]:
    """A workspace without the outbound rules of Azure's own, which it refuses from a caller: clients leave them out."""
    properties = document.get("properties") or {}
    network = properties.get("managedNetwork") or {}
    if not network.get("outboundRules"):
        return document
    own = {name: rule for name, rule in network["outboundRules"].items() if rule["category"] == "UserDefined"}
    return {**document, "properties": {**properties, "managedNetwork": {**network, "outboundRules": own}}}


class ArmMachine(RuleBasedStateMachine):
    """Writes, lists, ends and starts, against a model of what was acknowledged."""

    def __init__(
        self, board: Switchboard, client: httpx.Client, folder: Path, tokens: TokenIssuer, scoring: FakeScoring
    ):
        super().__init__()
        self.life = Life(board, client, folder, tokens, scoring)
        self.model = Model()
        self.quiet = True
        self.unknown: dict[str, tuple[str, Kind, Json | None]] = {}
        self.subscription = f"/subscriptions/{self.life.settings.subscription_id}"

    def teardown(self) -> None:
        try:
            self.settle()
            self.look_at_everything()
        finally:
            self.life.stop()

    @initialize(ready=st.booleans())
    def begin(self, ready: bool) -> None:
        """Half of the stories begin with a workspace, for most of what can happen happens below one."""
        if not ready:
            return
        for name in ("group", "storage", "vault", "workspace", "compute", "model version", "online endpoint"):
            kind = KINDS[name]
            self.put_new(kind, self.parents(kind)[0], kind.names[0], 0, wait=True)

    # Requests -----------------------------------------------------------------------------------------------------

    def send(self, method: str, path: str, body: Any = None, **headers: str) -> httpx.Response:
        """A request, and what holds of every answer."""
        response = self.life.send(method, path, body, **headers)
        context = f"{method} {path} {json.dumps(body)}: {response.status_code} {response.text[:500]}"
        assert response.status_code < 500 or response.status_code == 501, context
        if response.status_code >= 400 and method != "HEAD":
            assert response.headers["x-ms-response-type"] == "error", context
            error = response.json()["error"]
            assert isinstance(error["code"], str), context
            assert isinstance(error["message"], str), context
            assert error["message"], context
        return response

    def get(self, path: str) -> Json | None:
        """What a GET shows; None for nothing."""
        response = self.send("GET", path)
        assert response.status_code in (200, 404), response.text
        return response.json() if response.status_code == 200 else None

    def write(self, method: str, path: str, body: Any, *, must: bool, wait: bool, **headers: str) -> httpx.Response:
        """A request that may change something; where it is refused, nothing has changed."""
        quiet, before = self.quiet, self.life.rows() if self.quiet else {}
        response = self.send(method, path, body, **headers)
        context = f"{method} {path} {json.dumps(body)}: {response.status_code} {response.text[:500]}"
        assert response.status_code < 400 or not must, f"valid, and refused: {context}"
        if response.status_code >= 400 and quiet:
            assert self.life.rows() == before, f"refused, and applied: {context}"
        if response.status_code < 400:
            self.quiet = False
        return response

    # What the machine may do --------------------------------------------------------------------------------------

    def parents(self, kind: Kind) -> list[str]:
        """The ids below which a kind can be created now, in the order of their creation."""
        if not kind.above:
            return [self.subscription]
        found = [each.id for name in kind.above for each in self.model.of(name)]
        if kind.makes_parent:
            container = KINDS[kind.above[0]]
            spots = [container.id(each.id, name) for each in self.model.of("workspace") for name in container.names]
            found += [spot for spot in spots if self.model.get(spot) is None]
        return found

    def is_clear(self, kind: Kind, parent: str, name: str) -> bool:
        """Whether nothing that the model knows of speaks against a resource there."""
        path = kind.id(parent, name).lower()
        others = [each for each in self.model.entries.values() if each.name.lower() == name.lower()]
        free = all(each.id.lower() == path or each.kind.name != kind.name or kind.above == () for each in others)
        if kind.above and kind.above[0] != "group" and "endpoint" not in kind.name:
            free = True
        buried = bool({path, name.lower()} & self.model.buried) and kind.buried and self.model.get(path) is None
        return self.quiet and free and not buried and self.is_sound(kind, parent)

    def is_sound(self, kind: Kind, parent: str) -> bool:
        """Whether the parent, and so all above it, is there and well."""
        if not kind.above:
            return True
        found = self.model.get(parent)
        if found is None:
            return kind.makes_parent and self.model.get(parent.rpartition("/")[0].rpartition("/")[0]) is not None
        return found.is_well and self.is_sound(found.kind, found.parent)

    def is_repeatable(self, entry: Entry) -> bool:
        """Whether what the machine sent for it can be sent again: everything that it refers to is there still."""
        return (
            entry.sent is not None
            and entry.is_well
            and entry.kind.body(self.model, entry.parent, entry.number) == entry.sent
            and self.quiet
        )

    def put_new(self, kind: Kind, parent: str, name: str, number: int, *, wait: bool, spell: Any = str) -> None:
        """A PUT of a valid body, for a resource that is there or not."""
        body = kind.body(self.model, parent, number)
        entry = self.model.get(kind.id(parent, name))
        if body is None:
            return
        clear = self.is_clear(kind, parent, name) if entry is None else self.is_repeatable(entry)
        must = clear and (entry is None or not kind.fixed or number == entry.number)
        path = self.spelled(kind, parent, name, spell)
        response = self.write("PUT", f"{path}?{kind.put_query}", body, must=must, wait=wait)
        if response.status_code < 400:
            self.acknowledge(kind, entry.id if entry else kind.id(parent, name), body, response)
            self.model.entries[kind.id(parent, name).lower()].number = number
            self.model.entries[kind.id(parent, name).lower()].sent = body
        if wait:
            self.settle()

    def spelled(self, kind: Kind, parent: str, name: str, spell: Any) -> str:
        """The path in another case, but for names that this request gives."""
        if self.model.get(kind.id(parent, name)) and not kind.cased:
            return spell(kind.id(parent, name))
        if kind.makes_parent and self.model.get(parent) is None:
            above, collection, own = parent.rsplit("/", 2)
            return kind.id(f"{spell(above)}/{collection}/{own}", name)
        return kind.id(spell(parent), name)

    def acknowledge(self, kind: Kind, resource_id: str, body: Json, response: httpx.Response) -> None:
        """Takes an acknowledged PUT or PATCH into the model."""
        answer = response.json() if response.content else {}
        context = f"{resource_id}: {response.text[:500]}"
        if (answer or {}).get("id"):
            assert answer["id"] == resource_id, f"not the canonical id: {context}"
        # An update that is under way shows what was there before, so what is shown is compared when it has settled.
        assert self.get(resource_id) is not None, f"acknowledged, and not there: {context}"
        entry = self.model.entries.setdefault(resource_id.lower(), Entry(kind, resource_id))
        entry.document, entry.stored, entry.last, entry.answer = None, None, body, answer
        if kind.makes_parent:
            self.touch(kind, resource_id)

    def touch(self, kind: Kind, resource_id: str) -> None:
        """A version changes its container, and makes it where it is the first."""
        parent = resource_id.rpartition("/")[0].rpartition("/")[0]
        entry = self.model.entries.setdefault(parent.lower(), Entry(KINDS[kind.above[0]], parent))
        entry.document, entry.stored, entry.last = None, None, None

    def any_entry(self, data: st.DataObject, *names: str) -> Entry:
        """One of the resources that are there, of some kinds or of any that is written by PUT."""
        found = [each for each in self.model.entries.values() if each.kind.name in (names or KINDS)]
        return data.draw(st.sampled_from(found), "resource")

    def has(self, *names: str) -> bool:
        return any(each.kind.name in names for each in self.model.entries.values())

    # Rules: writes ------------------------------------------------------------------------------------------------

    @rule(data=st.data(), number=NUMBERS, spell=SPELLINGS, wait=st.sampled_from((True, True, True, False)))
    def put(self, data: st.DataObject, number: int, spell: Any, wait: bool) -> None:
        """PUT of a resource of any kind below anything that is there."""
        kind = KINDS[data.draw(st.sampled_from([name for name, kind in KINDS.items() if self.parents(kind)]), "kind")]
        parent = data.draw(st.sampled_from(self.parents(kind)), "parent")
        self.put_new(kind, parent, data.draw(st.sampled_from(kind.names), "name"), number, wait=wait, spell=spell)

    @precondition(lambda self: self.model.entries)
    @rule(data=st.data(), spell=SPELLINGS)
    def put_what_a_get_returned(self, data: st.DataObject, spell: Any) -> None:
        """A round trip: it changes nothing but what every write changes."""
        self.settle()
        entry = self.any_entry(data)
        before = self.get(entry.id)
        assert before is not None
        path = f"{entry.id if entry.kind.cased else spell(entry.id)}?{entry.kind.put_query}"
        response = self.write("PUT", path, own_rules_alone(before), must=self.is_repeatable(entry), wait=True)
        if response.status_code < 400:
            beside = (entry.stored or ({}, {}))[1]
            self.acknowledge(entry.kind, entry.id, before, response)
            self.settle()
            moves, after = entry.kind.moves, entry.stored or ({}, {})
            changed = differences(without(before, moves), without(entry.document or {}, moves))
            assert not changed + differences(beside, after[1]), f"changed by itself: {entry.id}: {changed}"

    @precondition(lambda self: any(each.kind.patch for each in self.model.entries.values()))
    @rule(data=st.data(), number=NUMBERS, spell=SPELLINGS)
    def patch(self, data: st.DataObject, number: int, spell: Any) -> None:
        """A PATCH changes what it names, and nothing else."""
        self.settle()
        entry = self.any_entry(data, *(name for name, kind in KINDS.items() if kind.patch))
        assert entry.kind.patch is not None
        body, before = entry.kind.patch(number), entry.document or {}
        response = self.write("PATCH", spell(entry.id), body, must=self.is_repeatable(entry), wait=True)
        if response.status_code < 400:
            self.acknowledge(entry.kind, entry.id, body, response)
            self.settle()
            ignored = (*entry.kind.moves, *body)
            changed = differences(without(before, ignored), without(entry.document or {}, ignored))
            assert not changed, f"more than it says: {entry.id}: {changed}"

    @precondition(lambda self: self.model.entries)
    @rule(data=st.data(), spell=SPELLINGS, wait=st.booleans(), deep=st.booleans())
    def delete(self, data: st.DataObject, spell: Any, wait: bool, deep: bool) -> None:
        """DELETE of anything: what lies below goes with it."""
        entry = self.any_entry(data)
        # Groups and workspaces take everything with them; most of the time something smaller goes.
        if entry.kind.name in ("group", "workspace", "storage") and not deep:
            return
        self.remove(
            entry, spell, wait, must=self.quiet and entry.is_well and entry.sent is not None and not entry.kind.lasting
        )

    def remove(self, entry: Entry, spell: Any, wait: bool, *, must: bool) -> None:
        in_use = self.quiet and self.takes_requests(entry)
        response = self.write("DELETE", f"{spell(entry.id)}?{entry.kind.query}", None, must=must, wait=wait)
        assert not (in_use and response.status_code < 400), f"deleted with requests going there: {entry.id}"
        if response.status_code < 400:
            self.model.forget(entry.id)
            if entry.kind.makes_parent and self.model.get(entry.parent):
                self.touch(entry.kind, entry.id)
        if wait:
            self.settle()

    def takes_requests(self, entry: Entry) -> bool:
        """Whether an endpoint sends requests to this deployment."""
        above = self.model.get(entry.parent)
        if above is None or above.document is None or "deployment" not in entry.kind.name:
            return False
        own = above.properties
        weights = {**(own.get("traffic") or {}), **(own.get("mirrorTraffic") or {})}
        return bool(weights.get(entry.name)) or (own.get("defaults") or {}).get("deploymentName") == entry.name

    @precondition(lambda self: self.model.buried)
    @rule(data=st.data())
    def purge(self, data: st.DataObject) -> None:
        """Purges the name of a deleted vault or workspace."""
        self.settle()
        name = data.draw(st.sampled_from(sorted(self.model.buried)), "name")
        if "/workspaces/" in name:
            response = self.write("DELETE", f"{name}?forceToPurge=true", None, must=False, wait=True)
        else:
            path = f"{self.subscription}/providers/Microsoft.KeyVault/locations/eastus/deletedVaults/{name}/purge"
            response = self.write("POST", path, None, must=False, wait=True)
        entry = self.model.get(name)
        if response.status_code < 400 and entry is not None:
            self.model.forget(entry.id)
        if response.status_code < 400:
            self.model.buried.discard(name)
        self.settle()

    # Rules: traffic -----------------------------------------------------------------------------------------------

    @precondition(lambda self: self.has("online endpoint"))
    @rule(data=st.data(), spell=SPELLINGS)
    def split(self, data: st.DataObject, spell: Any) -> None:
        """A PUT of an endpoint with any traffic: taken exactly where Azure's rules take it."""
        self.settle()
        entry = self.any_entry(data, "online endpoint")
        names = st.sampled_from((*KINDS["online deployment"].names, "ghost"))
        weights = st.sampled_from((0, 10, 50, 50, 60, 90, 100, 100, -10, 110))
        live = data.draw(st.dictionaries(names, weights, max_size=3), "traffic")
        mirror = data.draw(st.dictionaries(names, weights, max_size=1), "mirror traffic")
        made = {each.name for each in self.model.below(entry.id, "online deployment") if each.is_well}
        valid = self.is_valid_split(live, mirror, made)
        spelled = {name if spell is str else name.lower(): weight for name, weight in live.items()}
        before = entry.document or {}
        body = {**before, "properties": {**entry.properties, "traffic": spelled, "mirrorTraffic": mirror}}
        # A name that is none is refused or ignored where its weight is 0.
        must = valid and {*live, *mirror} <= made and entry.is_well
        response = self.write("PUT", entry.id, body, must=must, wait=True)
        assert valid or response.status_code >= 400, f"taken against the rules: {live} {mirror} of {made}"
        if response.status_code < 400:
            self.acknowledge(entry.kind, entry.id, {}, response)
            self.settle()
            assert entry.properties["traffic"] == {name: weight for name, weight in live.items() if weight}
            assert entry.properties["mirrorTraffic"] == {name: weight for name, weight in mirror.items() if weight}

    def is_valid_split(self, live: Mapping[str, int], mirror: Mapping[str, int], made: set[str]) -> bool:
        named = {name for name, weight in {**live, **mirror}.items() if weight} | {n for n, w in live.items() if w}
        bounds = all(0 <= each <= 100 for each in live.values()) and all(0 <= each <= 50 for each in mirror.values())
        both = any(live.get(name) and weight for name, weight in mirror.items())
        return bounds and sum(live.values()) in (0, 100) and named <= made and not both

    @precondition(lambda self: self.has("batch endpoint"))
    @rule(data=st.data())
    def choose_default(self, data: st.DataObject) -> None:
        """A PUT of a batch endpoint with a default deployment: it has to exist."""
        self.settle()
        entry = self.any_entry(data, "batch endpoint")
        made = {each.name for each in self.model.below(entry.id, "batch deployment") if each.is_well}
        name = data.draw(st.sampled_from((None, *KINDS["batch deployment"].names, "ghost")), "default")
        body = {**(entry.document or {}), "properties": {**entry.properties, "defaults": {"deploymentName": name}}}
        valid = name is None or name in made
        response = self.write("PUT", entry.id, body, must=valid and entry.is_well, wait=True)
        assert valid or response.status_code >= 400, f"a default that is not there was taken: {name} of {made}"
        if response.status_code < 400:
            self.acknowledge(entry.kind, entry.id, {}, response)
            self.settle()
            assert entry.properties["defaults"]["deploymentName"] == name

    @precondition(lambda self: self.has("batch endpoint"))
    @rule(data=st.data(), wait=st.booleans(), cancel=st.booleans())
    def invoke(self, data: st.DataObject, wait: bool, cancel: bool) -> None:
        """An invocation of a batch endpoint makes a job; a cancelled job ends."""
        self.settle()
        entry = self.any_entry(data, "batch endpoint")
        host = (entry.properties.get("scoringUri") or "https://none.inference.ml.azure.com/").split("/")[2]
        files = {"uri": "https://storage1.blob.core.windows.net/in/files", "jobInputType": "UriFolder"}
        body = {"properties": {"inputData": {"files": files}}}
        token = f"Bearer {self.life.token_for('https://ml.azure.com')}"
        self.life.hold()
        must = bool((entry.properties.get("defaults") or {}).get("deploymentName")) and self.is_sound(
            KINDS["batch deployment"], entry.id
        )
        response = self.write("POST", "/jobs", body, must=must, wait=wait, Host=host, Authorization=token)
        if response.status_code < 400:
            path = f"{entry.parent}/jobs/{response.json()['name']}"
            self.model.entries[path.lower()] = Entry(JOB, path)
            if cancel:
                self.write("POST", f"{path}/cancel", None, must=True, wait=wait)
        if wait:
            self.settle()

    # Rules: reads and actions -------------------------------------------------------------------------------------

    @precondition(lambda self: any(each.kind.actions for each in self.model.entries.values()))
    @rule(data=st.data(), spell=SPELLINGS)
    def act(self, data: st.DataObject, spell: Any) -> None:
        """A POST on a resource: what it tells stays so until something changes it."""
        self.settle()
        entry = self.any_entry(data, *(name for name, kind in KINDS.items() if kind.actions))
        action = data.draw(st.sampled_from(entry.kind.actions), "action")
        if action.writes:
            response = self.write("POST", f"{spell(entry.id)}/{action.name}", action.body, must=False, wait=True)
            if response.status_code < 400:
                self.expect_change(entry)
            self.settle()
        else:
            before = self.life.rows()
            response = self.send("POST", f"{spell(entry.id)}/{action.name}", action.body)
            assert self.life.rows() == before, f"a look changed something: {entry.id} {action.name}"
            if response.status_code == 200 and action.tells:
                self.compare_told(entry, action, response.json())

    def expect_change(self, entry: Entry) -> None:
        entry.document, entry.stored, entry.last = None, None, None
        # A workspace and a datastore tell the keys of their storage account.
        self.model.told = {key: told for key, told in self.model.told.items() if entry.kind.name not in key[1]}
        if entry.kind.name == "storage":
            self.model.told = {key: told for key, told in self.model.told.items() if "listSecrets" not in key[1]}

    def compare_told(self, entry: Entry, action: Action, answer: Json) -> None:
        told = self.model.told.setdefault((entry.id.lower(), f"{entry.kind.name} {action.name}"), answer)
        assert told == answer, f"not what it told before: {entry.id} {action.name}"

    @rule(data=st.data())
    def look_for_what_is_not_there(self, data: st.DataObject) -> None:
        """A GET of nothing is a 404, and a DELETE of nothing changes nothing."""
        kind = KINDS[data.draw(st.sampled_from([name for name, kind in KINDS.items() if self.parents(kind)]), "kind")]
        path = kind.id(data.draw(st.sampled_from(self.parents(kind)), "parent"), "20000000-0000-4000-8000-000000000002")
        self.settle()
        assert self.get(path) is None
        before = self.life.rows()
        assert self.send("DELETE", f"{path}?{kind.query}").status_code in (204, 404)
        assert self.life.rows() == before

    @rule()
    def look_at_everything(self) -> None:
        """Lists agree with GETs, and both with what was acknowledged."""
        self.settle()
        for entry in list(self.model.entries.values()):
            shown = self.get(entry.id.swapcase())
            assert shown is not None, f"lost: {entry.id}"
            changed = differences(entry.document, shown)
            assert entry.kind is JOB or not changed, f"changed by itself: {entry.id}: {changed}"
            assert shown.get("id", entry.id) == entry.id
        for kind in KINDS.values():
            if kind.listed:
                for parent in {each.parent for each in self.model.of(kind.name)} | set(self.existing_parents(kind)):
                    self.compare_list(kind, parent)

    def existing_parents(self, kind: Kind) -> list[str]:
        return [parent for parent in self.parents(kind) if not kind.above or self.model.get(parent)]

    def compare_list(self, kind: Kind, parent: str) -> None:
        listed, link = [], f"{kind.collection(parent)}?listViewType=All"
        while link:
            response = self.send("GET", link)
            assert response.status_code == 200, f"{link}: {response.text}"
            listed += response.json()["value"]
            link = response.json().get("nextLink")
        expected = [each for each in self.model.of(kind.name) if each.parent.lower() == parent.lower()]
        shown = {each["name"]: each for each in listed}
        assert len(shown) == len(listed), f"listed twice: {link}"
        assert sorted(shown) == sorted(each.name for each in expected), f"the list of {kind.collection(parent)}"
        for each in expected:
            assert shown[each.name] == each.document, f"a list shows another {each.id} than a GET"

    # Rules: life and death ----------------------------------------------------------------------------------------

    @rule()
    def hold(self) -> None:
        """From here on, deployments and jobs take for ever to start."""
        self.life.hold()

    @rule(how=st.sampled_from(("restart", "kill")))
    def end_and_start(self, how: str) -> None:
        """Local Azure ends, in good order or without a word, whatever is under way."""
        getattr(self.life, how)()
        self.quiet = False

    @precondition(lambda self: self.model.entries)
    @rule(data=st.data(), number=NUMBERS, statement=st.integers(1, 40), delete=st.booleans())
    def die_within_a_write(self, data: st.DataObject, number: int, statement: int, delete: bool) -> None:
        """Local Azure is killed at some statement of a write, or of the operation that the write began."""
        self.settle()
        entry = self.any_entry(data)
        body = None if delete else entry.kind.body(self.model, entry.parent, number)
        if body is None and not delete:
            return
        photograph = self.life.photograph(statement)
        query = entry.kind.query if delete else entry.kind.put_query
        response = self.send("DELETE" if delete else "PUT", f"{entry.id}?{query}", body)
        photograph.answered = True
        self.wait_for_operations()
        self.life.wake_from(photograph)
        self.quiet = False
        if response.status_code < 400:
            self.remember_death(entry, delete, body, photograph.was_answered)
        self.settle()

    def remember_death(self, entry: Entry, delete: bool, body: Json | None, answered: bool) -> None:
        if answered and delete:
            self.model.forget(entry.id)
            if entry.kind.makes_parent and self.model.get(entry.parent):
                self.touch(entry.kind, entry.id)
        elif answered:
            entry.document, entry.stored, entry.last = None, None, body
            if entry.kind.makes_parent:
                self.touch(entry.kind, entry.id)
        else:
            self.unknown[entry.id] = ("DELETE" if delete else "PUT", entry.kind, body)

    # Settling -----------------------------------------------------------------------------------------------------

    def settle(self) -> None:
        """Waits for what is under way, then compares what is stored with what was acknowledged."""
        if self.quiet and not self.unknown:
            return
        self.life.release()
        self.wait_for_operations()
        self.quiet = True
        stored = self.stored()
        self.resolve(stored)
        for entry in list(self.model.entries.values()):
            assert entry.id.lower() in stored, f"acknowledged, and lost: {entry.id}"
            self.refresh(entry, stored[entry.id.lower()])
        self.adopt(stored)
        self.check_serving()

    def wait_for_operations(self) -> None:
        """Waits until no operation and no job runs, and every deployment that serves is up."""
        self.life.release()
        for _ in range(4000):
            if not self.is_under_way():
                return
            time.sleep(0.002)
        raise AssertionError(f"this did not end: {self.is_under_way()}")

    def is_under_way(self) -> list[Any]:
        store = self.life.azure._cloud.store
        operations: list[Any] = [each.resource for each in store.running()]
        jobs = store.of_type("Microsoft.MachineLearningServices/workspaces/jobs")
        # Only those of batch endpoints are carried out.
        batch = [each for each in jobs if each.hidden.get("deployment")]
        running = [each.id for each in batch if each.properties["status"] not in ENDED]
        deployed = set(self.life.serving.deployed)
        down = [each for each in self.should_serve() if each not in deployed]
        return operations + running + down

    def should_serve(self) -> set[str]:
        """`endpoint/deployment` of all that was created successfully and is still there."""
        store = self.life.azure._cloud.store
        found = store.of_type("Microsoft.MachineLearningServices/workspaces/onlineEndpoints/deployments")
        return {f"{each.id.split('/')[-3]}/{each.name}" for each in found if each.hidden.get("created")}

    def stored(self) -> dict[str, tuple[Any, ...]]:
        """Document and what is kept beside it, by folded id, without the marks of what was deleted."""
        rows = self.life.azure._cloud.store.below("")
        kept = [each for each in rows if each.type.rpartition("/")[2].lower() not in MARKERS]
        beside = [{name: value for name, value in each.hidden.items() if value and name not in NOTES} for each in kept]
        return {each.id.lower(): (each.document, hidden) for each, hidden in zip(kept, beside, strict=True)}

    def resolve(self, stored: dict[str, tuple[Any, ...]]) -> None:
        """Learns what became of a write whose answer never came: all of it or nothing."""
        for path, (method, kind, body) in self.unknown.items():
            entry = self.model.get(path)
            assert entry is not None
            below = [each.id for each in (entry, *self.model.below(path)) if each.kind is not JOB]
            there = [each for each in below if each.lower() in stored]
            if method == "DELETE":
                assert len(there) in (0, len(below)), f"half deleted: {path}: {set(below) - set(there)}"
                if not there:
                    self.model.forget(path)
                if kind.makes_parent and self.model.get(entry.parent):
                    self.touch(kind, path)
            elif stored[path.lower()] != entry.stored:
                entry.document, entry.stored, entry.last = None, None, body
                if kind.makes_parent:
                    self.touch(kind, path)
        self.unknown = {}

    def refresh(self, entry: Entry, stored: tuple[Any, ...]) -> None:
        if entry.stored is not None and entry.kind is not JOB:
            both = (entry.stored, stored)
            before, after = ((without(each[0], entry.kind.derived), without(each[1], WORKING)) for each in both)
            assert before == after, f"changed by itself: {entry.id}: {differences(before, after)}"
            if entry.stored == stored:
                return
        document = self.get(entry.id)
        assert document is not None, entry.id
        entry.document, entry.stored = document, stored
        assert entry.state != "Failed" or entry.name.startswith("bad"), f"failed: {document}"
        if entry.last is not None and entry.is_well:
            lost = missing(without(entry.last, (*entry.kind.unseen, *entry.kind.moves)), document)
            assert not lost, f"acknowledged, and not shown: {entry.id}: {lost}"
        if entry.answer and entry.is_well:
            ignored = (*entry.kind.own, "properties.provisioningState")
            changed = differences(without(entry.answer, ignored), without(document, ignored))
            assert not changed, f"a GET differs from the answer to the write: {entry.id}: {changed}"
        entry.last, entry.answer = None, None

    def adopt(self, stored: dict[str, tuple[Any, ...]]) -> None:
        """What a workspace comes with is taken into the model; anything else nobody asked for."""
        for path, (document, hidden) in stored.items():
            if self.model.get(path) is not None:
                continue
            assert "/datastores/workspace" in path, f"nobody asked for {path}"
            entry = Entry(KINDS["datastore"], document["id"], self.get(path), (document, hidden))
            self.model.entries[path] = entry

    def check_serving(self) -> None:
        """Nothing runs for what is gone, and everything runs for what is there."""
        serving = self.life.serving
        for _ in range(1000):
            routed = {each.name for each in serving.routed}
            if set(serving.deployed) == self.should_serve() and routed == self.routable():
                return
            time.sleep(0.002)
        raise AssertionError(
            f"runs: {sorted(serving.deployed)}, should run: {sorted(self.should_serve())}; "
            f"routed: {sorted(routed)}, should be: {sorted(self.routable())}"
        )

    def routable(self) -> set[str]:
        return {each.name for each in self.model.of("online endpoint")}

    # Invariants ---------------------------------------------------------------------------------------------------

    @invariant()
    def every_resource_has_its_parent(self) -> None:
        stored = self.stored()
        for path in stored:
            parts = path.split("/")
            above = "/".join(parts[:5])
            # A role lies below the subscription, whatever it is for.
            free = len(parts) <= 5 or parts[3] != "resourcegroups"
            assert free or above in stored, f"without its group: {path}"
            for kind in ("workspaces", "storageaccounts", "onlineendpoints", "batchendpoints"):
                at = parts.index(kind) + 2 if kind in parts[:-2] else 0
                assert not at or "/".join(parts[:at]) in stored, f"without its parent: {path}"

    @invariant()
    def traffic_goes_to_deployments_that_exist(self) -> None:
        stored = self.stored()
        for path, (document, _) in stored.items():
            if path.split("/")[-2] != "onlineendpoints":
                continue
            live, mirror = document["properties"]["traffic"], document["properties"]["mirrorTraffic"]
            assert sum(live.values()) in (0, 100), document
            assert all(weight <= 50 for weight in mirror.values()), document
            for name in {**live, **mirror}:
                assert f"{path}/deployments/{name.lower()}" in stored, f"traffic to nothing: {path}: {name}"
