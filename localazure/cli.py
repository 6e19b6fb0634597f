"""The command line: start, stop and look into the Local Azure of a folder."""

import argparse
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from localazure import processes
from localazure.admin import Admin
from localazure.errors import LocalAzureError, NotRunning, StartFailed
from localazure.home import DEFAULT_NAME, Home
from localazure.pulumi_plugin.install import install as install_plugin
from localazure.runtime import Runtime, claimant, claimed, starting

if TYPE_CHECKING:
    from localazure.daemon import Factory

PROGRAM = (sys.executable, "-m", "localazure")
START_SECONDS = 180.0
# How long a daemon has to stop in order, to answer that it will, and to end by a signal when it does not answer.
STOP_SECONDS = 12.0
ANSWER_SECONDS = 3.0
UNASKED_SECONDS = 3.0
NOT_RUNNING = 3


def main(arguments: Sequence[str], *, program: Sequence[str] = PROGRAM, factory: "Factory | None" = None) -> int:
    """Carry out one command and return its exit code.

    `program` is the command that is run again for the daemon, and `factory` makes the control plane in it.
    """
    options = _parser().parse_args(arguments)
    context = _Context(Home.at(options.home), options, tuple(program), factory)
    try:
        return COMMANDS[options.command](context)
    except LocalAzureError as error:
        print(f"localazure: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # The reader (`head`, say) has had enough; Python would complain when it flushes at the end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


@dataclass(frozen=True)
class _Context:
    home: Home
    options: argparse.Namespace
    program: tuple[str, ...]
    factory: "Factory | None"


def _parser() -> argparse.ArgumentParser:
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument("--home", metavar="DIR", help=f"the state folder (default: ./{DEFAULT_NAME})")
    parser = argparse.ArgumentParser("localazure", description="A stand-in for Azure on this machine.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, help_text in HELP.items():
        command = commands.add_parser(name, help=help_text, description=help_text, parents=[shared])
        for flags, details in OPTIONS.get(name, {}).items():
            command.add_argument(*flags.split(), **details)
    return parser


HELP = {
    "start": "Start it, if it does not run, and return when it answers.",
    "stop": "End it and everything it started. What it holds is kept.",
    "status": "Say whether it runs, where, and what it holds.",
    "env": 'Print the variables that lead clients to it: eval "$(python -m localazure env)"',
    "logs": "Print its log, or that of a deployment.",
    "keys": "Print the key of an endpoint.",
    "reset": "End it and delete everything that it holds.",
    "serve": "Be the daemon, in the foreground (start runs this).",
}
OPTIONS: dict[str, dict[str, dict[str, Any]]] = {
    "status": {"--json": {"action": "store_true", "help": "for programs"}},
    "logs": {
        "name": {"nargs": "?", "help": "an endpoint, endpoint/deployment or deployment (default: Local Azure itself)"},
        "-f --follow": {"action": "store_true", "help": "go on printing what is added"},
        "-n --tail": {"type": int, "default": 100, "metavar": "LINES", "help": "how many lines (default: 100)"},
    },
    "keys": {
        "name": {"help": "the endpoint's name"},
        "--secondary": {"action": "store_true", "help": "the secondary key"},
        "--json": {"action": "store_true", "help": "both keys"},
    },
}


def _serve(context: _Context) -> int:
    from localazure.daemon import serve

    if context.factory:
        serve(context.home, context.factory)
    else:
        from localazure.azure import LocalAzure

        serve(context.home, LocalAzure)
    sys.stdout.flush()
    sys.stderr.flush()
    # Everything has been stopped; a thread that still waits for something must not keep the process.
    os._exit(0)


def _start(context: _Context) -> int:
    home = context.home
    home.create()
    with starting(home):
        # So that the shell that evaluates `env` can drive Pulumi by hand.
        install_plugin(home.pulumi_home)
        daemon = None if claimed(home) else _spawn(context)
        status = _wait_until_it_answers(home, daemon)
    known = "runs" if daemon is None else "answers"
    print(f"Local Azure {known} in {home.path} (process {status['pid']}, proxy 127.0.0.1:{status['ports']['proxy']}).")
    return 0


def _spawn(context: _Context) -> tuple[subprocess.Popen[bytes], int]:
    # Of a daemon that was killed, the old process would be asked instead of the new.
    Runtime.read(context.home).without_pid().write(context.home)
    output = _log(context.home)
    before = output.stat().st_size if output.is_file() else 0
    argv = [*context.program, "serve", "--home", str(context.home.path)]
    return processes.spawn(context.home, argv, env=os.environ, log=output, cwd=processes.ROOT), before


def _wait_until_it_answers(home: Home, daemon: tuple[subprocess.Popen[bytes], int] | None) -> dict[str, Any]:
    admin, deadline = Admin(home), time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        try:
            return admin.get("ping")
        except NotRunning:
            time.sleep(0.03)
        if daemon[0].poll() is not None if daemon else not claimed(home):
            break
    before = daemon[1] if daemon else 0
    raise StartFailed(f"Local Azure did not start. {_log(home)} ends:\n{_since(_log(home), before)}")


def _since(file: Path, position: int) -> str:
    with file.open("rb") as log:
        log.seek(position)
        return "\n".join(log.read().decode(errors="replace").splitlines()[-20:])


def _stop(context: _Context) -> int:
    home = context.home
    if not home.exists:
        print(f"There is no Local Azure in {home.path}.")
        return 0
    with starting(home):
        ran = _end(home)
    print(f"Local Azure in {home.path} {'has ended' if ran else 'was not running'}.")
    return 0


def _end(home: Home) -> bool:
    """End the daemon, by force if need be, and whatever of this home is left; says whether anything was running."""
    ran = claimed(home)
    if ran:
        _wait_until_gone(home, STOP_SECONDS if _takes_order(home) else UNASKED_SECONDS)
    if claimed(home):
        _signal(home, signal.SIGKILL)
        _wait_until_gone(home, STOP_SECONDS)
    swept = processes.sweep(home)
    Runtime.read(home).without_pid().write(home)
    return ran or bool(swept)


def _takes_order(home: Home) -> bool:
    try:
        Admin(home, ANSWER_SECONDS).post("stop")
    except LocalAzureError:
        # It is on its way up and does not listen yet, or it hangs.
        _signal(home, signal.SIGTERM)
        return False
    return True


def _signal(home: Home, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        if pid := claimant(home):
            os.kill(pid, number)


def _wait_until_gone(home: Home, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while claimed(home) and time.monotonic() < deadline:
        time.sleep(0.03)


def _reset(context: _Context) -> int:
    home = context.home
    if not home.exists:
        print(f"There is no Local Azure in {home.path}.")
        return 0
    with starting(home):
        _end(home)
        shutil.rmtree(home.path)
    print(f"{home.path} has been deleted.")
    return 0


def _status(context: _Context) -> int:
    try:
        status = Admin(context.home).get("status")
    except NotRunning as error:
        print(json.dumps({"running": False, "home": str(context.home.path)}) if context.options.json else error)
        return NOT_RUNNING
    print(json.dumps(status, indent=2) if context.options.json else "\n".join(_summary(status)))
    return 0


def _summary(status: Mapping[str, Any]) -> list[str]:
    ports = ", ".join(f"{name} 127.0.0.1:{port}" for name, port in status["ports"].items())
    return [
        f"Local Azure runs in {status['home']} (process {status['pid']}).",
        f"Ports: {ports}",
        *_tree(status["azure"]),
    ]


def _tree(value: Any, indent: str = "") -> Iterator[str]:
    """Nested data as indented lines; what fits is put on one."""
    named = value.items() if isinstance(value, dict) else [("-", item) for item in value]
    for name, item in named:
        label = f"{indent}{name}" if name == "-" else f"{indent}{name}:"
        if _deep(item):
            yield label
            yield from _tree(item, f"{indent}  ")
        else:
            yield f"{label} {_flat(item)}"


def _deep(item: Any) -> bool:
    parts = item.values() if isinstance(item, dict) else item if isinstance(item, list) else []
    return any(isinstance(part, dict | list) for part in parts)


def _flat(item: Any) -> str:
    if isinstance(item, dict):
        return ", ".join(f"{name} {part}" for name, part in item.items()) or "-"
    return ", ".join(map(str, item)) or "-" if isinstance(item, list) else str(item)


def _env(context: _Context) -> int:
    from localazure.environment import client_environment, shell_lines
    from localazure.settings import Settings

    home = context.home
    Admin(home).get("ping")
    print(shell_lines(client_environment(home, Settings.load(home), Runtime.read(home).ports)))
    return 0


def _keys(context: _Context) -> int:
    keys = Admin(context.home).get("keys", name=context.options.name)
    which = "secondaryKey" if context.options.secondary else "primaryKey"
    print(json.dumps(keys, indent=2) if context.options.json else keys[which])
    return 0


def _logs(context: _Context) -> int:
    name, home = context.options.name, context.home
    file = Path(Admin(home).get("logs", name=name)["path"]) if name else _log(home)
    if not file.is_file():
        raise LocalAzureError(f"{file} does not exist: nothing has been logged yet.")
    with file.open(errors="replace") as log:
        # One reading for both: nothing that is written in between is lost.
        end = deque(log, maxlen=max(context.options.tail, 0))
        print("".join(end), end="", flush=True)
        if context.options.follow:
            _follow(log)
    return 0


def _follow(log: TextIO) -> None:
    while True:
        if added := log.read():
            print(added, end="", flush=True)
        else:
            time.sleep(0.2)


def _log(home: Home) -> Path:
    return home.logs / "localazure.log"


COMMANDS: Mapping[str, Callable[[_Context], int]] = {
    "start": _start,
    "stop": _stop,
    "status": _status,
    "env": _env,
    "logs": _logs,
    "keys": _keys,
    "reset": _reset,
    "serve": _serve,
}
