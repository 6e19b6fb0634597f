"""What a killed `pulumi` leaves behind, and how the next one goes on: its lock, its processes, its half-made resources.

Only for state in a folder (`PULUMI_BACKEND_URL=file://…`), as Local Azure's is; other backends look after themselves.
"""

from __future__ import annotations

import contextlib
import ipaddress
import json
import re
import socket
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlsplit

import psutil

Environment = Mapping[str, str]
Resource = dict[str, Any]
Deployment = dict[str, Any]
Find = Callable[[Resource], tuple[str, dict[str, Any]] | None]

# What an engine starts: programs by the beginning of their names, and Python modules. Some programs are scripts.
PROGRAMS = ("pulumi-language-", "pulumi-resource-")
MODULES = ("pulumi.dynamic", "localazure.pulumi_plugin")
INTERPRETER = re.compile(r"(python[\d.]*|(ba|da|z)?sh)", re.IGNORECASE)
# Under such names pulumi writes files before they get their own.
DRAFT = re.compile(r"\.[0-9a-f]{16}\.tmp$")
LOCAL_SUBSCRIPTION = "10ca1a2e-0000-4000-8000-000000000001"
PATIENCE = 1800.0  # seconds for a creation that goes on: building an environment may take many minutes
DONE = ("", "succeeded", "failed", "canceled", "disabled")


class RecoveryError(Exception):
    """The stack cannot be brought into a state to go on from; the message says why and the way out."""


def bookkeeping(environment: Environment) -> Path | None:
    """Where the CLI keeps stacks and locks, if that is a folder on this machine."""
    backend = urlsplit(environment.get("PULUMI_BACKEND_URL", ""))
    return Path(unquote(backend.path)) / ".pulumi" if backend.scheme == "file" else None


def checkpoint(project: Path, stack: str, environment: Environment) -> dict[str, Any] | None:
    """The stack's latest deployment; empty before its first, None if there is no such stack."""
    if not (folder := bookkeeping(environment)):
        return None
    name = next(line.split(":", 1)[1].strip() for line in _lines(project / "Pulumi.yaml") if line.startswith("name:"))
    file = folder / "stacks" / name / f"{stack}.json"
    return json.loads(file.read_text())["checkpoint"].get("latest") or {} if file.is_file() else None


def _lines(file: Path) -> list[str]:
    return file.read_text().splitlines()


# locks


def free_dead_locks(stack: str, environment: Environment) -> None:
    """Remove the locks of engines that are dead, with all else that they left; wait for one that lives."""
    folder = bookkeeping(environment)
    for lock in sorted(folder.glob(f"locks/**/{stack}/*.json")) if folder else []:
        if holder := _holder(lock):
            print(f"Another pulumi (process {holder.pid}) is at work on stack {stack}; waiting for it.", flush=True)
            _wait_for(lock)
        else:
            print(f"Freeing stack {stack}: the pulumi that locked it is dead.", flush=True)
            _free(lock)
    for file in _half_written(folder, stack) if folder else []:
        file.unlink(missing_ok=True)
    end_orphans(environment)


def _half_written(folder: Path, stack: str) -> list[Path]:
    """What a pulumi was writing when it was killed.

    The state itself is replaced in one step; its attributes (`.attrs`) are not, and the next pulumi ends at empty ones
    with "EOF", as it takes a draft beside a lock for another lock. Attributes that are missing it does without.
    """
    own = [*folder.glob("meta.yaml*"), *folder.glob(f"stacks/**/{stack}.json*"), *folder.glob(f"*/**/{stack}/*")]
    return [file for file in own if DRAFT.search(file.name) or (file.suffix == ".attrs" and _is_torn(file))]


def _is_torn(attributes: Path) -> bool:
    with contextlib.suppress(ValueError, OSError):
        json.loads(attributes.read_bytes())
        return not attributes.with_suffix("").exists()
    return True


def _free(lock: Path) -> None:
    for file in (lock, lock.with_name(f"{lock.name}.attrs")):
        file.unlink(missing_ok=True)


def _holder(lock: Path) -> psutil.Process | None:
    """The living process that holds a lock.

    Raises:
        RecoveryError: it was taken on another machine, whose processes cannot be seen from here.
    """
    with contextlib.suppress(OSError, ValueError, KeyError, psutil.Error):
        content = json.loads(lock.read_text())
        if content["hostname"] != socket.gethostname():
            raise RecoveryError(f"{lock} is held on {content['hostname']}: end that pulumi, or run `pulumi cancel`.")
        process = psutil.Process(content["pid"])
        # A number is used again: the process that took the lock was there before it, and is a pulumi.
        older = process.create_time() < datetime.fromisoformat(content["timestamp"]).timestamp() + 1
        return process if older and process.name().startswith("pulumi") else None
    return None


def _wait_for(lock: Path) -> None:
    while lock.exists():
        if _holder(lock) is None:
            _free(lock)
        time.sleep(0.2)


def end_orphans(environment: Environment) -> int:
    """End what dead engines of this Pulumi home have left running; their language host would stay for minutes."""
    home = environment.get("PULUMI_HOME") if bookkeeping(environment) else None
    orphans = [process for process in psutil.process_iter() if home and _is_orphan(process, home)]
    for process in orphans:
        with contextlib.suppress(psutil.Error):
            process.kill()
    psutil.wait_procs(orphans, timeout=5)
    return len(orphans)


def _is_orphan(process: psutil.Process, home: str) -> bool:
    with contextlib.suppress(psutil.Error):
        if _is_child(process.cmdline()) and process.environ().get("PULUMI_HOME") == home:
            return not any(parent.name() == "pulumi" for parent in process.parents())
    return False


def _is_child(argv: Sequence[str]) -> bool:
    """Whether a command line runs what an engine starts; a program that only names such a file is somebody's own."""
    program, *rest = argv or [""]
    if INTERPRETER.fullmatch(Path(program).name):
        while rest and re.fullmatch(r"-[a-zA-Z]+", rest[0]) and rest[0] not in ("-c", "-m"):
            rest.pop(0)
        if rest[:1] == ["-m"]:
            return rest[1:2] != [] and rest[1] in MODULES
        program = rest[0] if rest else ""
    return Path(program).name.startswith(PROGRAMS)


# half-made resources

# What Azure never repairs has ways out of its own: `summary.way_out`, `dynamic.wait`.
FINAL = (":OnlineEndpoint", ":BatchEndpoint", ":OnlineDeployment", ":BatchDeployment")


def unfinished(resources: Iterable[Resource]) -> dict[str, list[str]]:
    """Resources whose last operation failed in Azure, and which another one would set right: their errors by URN."""
    failed = [each for each in resources if each.get("initErrors") and not each["type"].endswith(FINAL)]
    return {each["urn"]: each["initErrors"] for each in failed}


def remember(project: Path, stack: str, environment: Environment, failed: Mapping[str, Sequence[str]]) -> None:
    """Put errors back that a refresh has erased: the engine writes a resource again that has any."""

    def with_errors(deployment: Deployment) -> Deployment:
        resources = deployment.get("resources") or []
        return {**deployment, "resources": [each | _errors(failed.get(each["urn"])) for each in resources]}

    _edit(project, stack, environment, with_errors)


def _errors(found: Sequence[str] | None) -> Resource:
    return {"initErrors": list(found)} if found else {}


def _edit(project: Path, stack: str, environment: Environment, change: Callable[[Deployment], Deployment]) -> None:
    command = ["pulumi", "stack", "--stack", stack]
    exported = json.loads(_pulumi([*command, "export"], project, environment))
    exported["deployment"] = change(exported["deployment"])
    _pulumi([*command, "import"], project, environment, json.dumps(exported))


def bring_back(project: Path, stack: str, environment: Environment) -> None:
    """Take into the state what Azure has made of the creations that were under way when the engine died.

    Otherwise `up` would create them again, and azure-native refuses to create what exists. The state is edited because
    `pulumi refresh --import-pending-creates` of this CLI drops the creations and imports nothing. Only Local Azure is
    asked; a stack in Azure is left to the CLI, which names what was interrupted.
    """
    if not (bookkeeping(environment) and leads_to_local_azure(environment)):
        return
    pending = (checkpoint(project, stack, environment) or {}).get("pending_operations")
    if not pending:
        return
    print(f"Looking for what became of {len(pending)} operations that were interrupted.", flush=True)
    find = in_local_azure(environment)
    _edit(project, stack, environment, lambda deployment: repaired(deployment, find))


def leads_to_local_azure(environment: Environment) -> bool:
    """Whether logins, requests and the subscription are all Local Azure's."""
    proxy = environment.get("https_proxy", environment.get("HTTPS_PROXY", ""))
    ways = environment.get("IDENTITY_ENDPOINT", ""), proxy
    return environment.get("ARM_SUBSCRIPTION_ID") == LOCAL_SUBSCRIPTION and all(map(_is_loopback, ways))


def _is_loopback(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    with contextlib.suppress(ValueError):
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    return False


def _pulumi(argv: list[str], project: Path, environment: Environment, content: str | None = None) -> str:
    done = subprocess.run(argv, cwd=project, env=dict(environment), input=content, capture_output=True, text=True)
    if done.returncode:
        raise RecoveryError(f"`{' '.join(argv)}` failed:\n{(done.stderr or done.stdout).strip()}")
    return done.stdout


def repaired(deployment: Deployment, find: Find) -> Deployment:
    """The deployment without pending operations; creations that `find` finds are resources of it.

    Updates and deletions just go: the resource is in the state, and the next refresh sees how far they came. They are
    looked for all the same, since that waits for their end: while it works on a resource, Azure refuses the next write.
    """
    known = {resource["urn"] for resource in deployment.get("resources", [])}
    added = [found for found in _creations(deployment, find) if found["urn"] not in known]
    rest = {key: value for key, value in deployment.items() if key != "pending_operations"}
    return {**rest, "resources": [*deployment.get("resources", []), *added]}


def _creations(deployment: dict[str, Any], find: Find) -> Iterator[Resource]:
    for operation in deployment.get("pending_operations", []):
        resource = operation["resource"]
        if (found := find(resource)) and operation["type"] == "creating":
            yield {**resource, "id": found[0], "outputs": found[1]}


def in_local_azure(environment: Environment) -> Find:
    """A `find` that asks Local Azure, and waits until what goes on there with the resource has come to its end.

    It knows azure-native's resources. The program's dynamic ones adopt what is there when they are created again.
    """
    from localazure.pulumi_plugin.arm import Arm, Tokens, local_access
    from localazure.pulumi_plugin.errors import ArmError
    from localazure.pulumi_plugin.lifecycle import Lifecycle
    from localazure.pulumi_plugin.shapes import Catalogue

    catalogue, access = Catalogue.load(), local_access(environment)
    subscription = environment["ARM_SUBSCRIPTION_ID"]
    tokens = Tokens(access)
    arm = Arm(access, tokens)
    lifecycle = Lifecycle(catalogue, arm, tokens, subscription)

    def content(id: str, api_version: str) -> Mapping[str, Any]:
        try:
            return arm.get(id, api_version)
        except ArmError as error:
            if error.status == 404:  # the deletion that was waited for
                return {}
            raise

    def find(resource: Resource) -> tuple[str, dict[str, Any]] | None:
        shape = catalogue.resource(resource["type"])
        if shape is None:
            return None
        id = arm_id(shape.row.path, subscription, resource["inputs"])
        if not arm.exists(id, shape.api_version):
            return None
        _wait_until_done(lambda: content(id, shape.api_version))
        state = lifecycle.read(shape, id, resource["inputs"], {})
        return (id, dict(state.outputs)) if state else None

    return find


def arm_id(path: str, subscription: str, inputs: Mapping[str, Any]) -> str:
    """An ARM id from its pattern and the inputs that it names."""
    values = {name: quote(value, safe="") for name, value in inputs.items() if isinstance(value, str)}
    scope = {"scope": inputs["scope"].strip("/")} if "scope" in inputs else {}
    return path.format_map({**values, **scope, "subscriptionId": subscription})


def _wait_until_done(read: Callable[[], Mapping[str, Any]], pause: float = 0.2) -> None:
    deadline = time.monotonic() + PATIENCE
    while _state(content := read()) not in DONE:
        if time.monotonic() > deadline:
            raise RecoveryError(f"{content.get('id')} is still {_state(content)}: see `python -m localazure logs`.")
        time.sleep(pause)


def _state(content: Mapping[str, Any]) -> str:
    return str((content.get("properties") or {}).get("provisioningState") or "").lower()
