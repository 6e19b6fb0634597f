"""The command line: start, stop and look into the Local Azure of a folder."""

import argparse
import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from localazure import logs, processes, report
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
# Months of an hourly schedule may pass on the way.
CLOCK_SECONDS = 600.0
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


def _duration(text: str) -> float:
    """Seconds, of a number and a unit."""
    found = re.fullmatch(r"(\d{1,9})([smhd])", text)
    if found is None:
        raise argparse.ArgumentTypeError(f"{text!r} is no duration: a number with s, m, h or d, such as 8h")
    return int(found[1]) * {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}[found[2]]


HELP = {
    "start": "Start it, if it does not run, and return when it answers.",
    "stop": "End it and everything it started. What it holds is kept.",
    "status": "Say whether it runs, where, and what it holds.",
    "env": 'Print the variables that lead clients to it: eval "$(python -m localazure env)"',
    "logs": "Print its log, or that of a deployment or a batch job.",
    "keys": "Print the key of an endpoint.",
    "weather": "Show or set faults and delays as Azure has them; they hold until --reset.",
    "clock": "Show the clock that schedules go by, or put it forward: what falls due on the way happens.",
    "preempt": "Take nodes of a low-priority compute cluster back, as Azure does when it needs them.",
    "reset": "End it and delete everything that it holds.",
    "serve": "Be the daemon, in the foreground (start runs this).",
}
OPTIONS: dict[str, dict[str, dict[str, Any]]] = {
    "status": {"--json": {"action": "store_true", "help": "for programs"}},
    "logs": {
        "name": {
            "nargs": "?",
            "help": "a deployment (blue, blue-3f2a9c11 or endpoint/blue), an endpoint or a job "
            "(default: Local Azure itself)",
        },
        "-f --follow": {"action": "store_true", "help": "go on printing what is added, until Ctrl-C or the job's end"},
        "-n --tail": {"type": int, "default": 100, "metavar": "LINES", "help": "how many lines (default: 100)"},
        "-c --container": {
            "choices": ("inference-server", "storage-initializer"),
            "help": "which log of a deployment: the server's, or what was done before it started "
            "(default: the server's, once there is one)",
        },
    },
    "weather": {
        "file": {
            "nargs": "?",
            "help": "JSON to set: a file, - for standard input, or the text itself, as in the settings",
        },
        "--azure": {
            "type": float,
            "metavar": "FACTOR",
            "help": "have long operations take Azure's times, multiplied by FACTOR (alone: and no faults)",
        },
        "--reset": {"action": "store_true", "help": "go back to the weather of the settings"},
    },
    "clock": {
        "--to": {"metavar": "TIME", "help": "such as 2026-03-29T02:00 (UTC), or with an offset"},
        "--by": {"type": _duration, "metavar": "DURATION", "help": "such as 90m, 8h or 14d"},
    },
    "preempt": {
        "cluster": {"help": "its name, or workspace/name"},
        "-n --nodes": {"type": int, "default": 1, "metavar": "COUNT", "help": "how many nodes (default: 1)"},
        "-s --seconds": {
            "type": float,
            "default": 60.0,
            "metavar": "SECONDS",
            "help": "after which there are nodes to be had again (default: 60)",
        },
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
    print(json.dumps(status, indent=2) if context.options.json else "\n".join(report.lines(status)))
    return 0


def _env(context: _Context) -> int:
    from localazure.environment import client_environment, shell_lines

    Admin(context.home).get("ping")
    print(shell_lines(client_environment(context.home)))
    return 0


def _keys(context: _Context) -> int:
    keys = Admin(context.home).get("keys", name=context.options.name)
    which = "secondaryKey" if context.options.secondary else "primaryKey"
    print(json.dumps(keys, indent=2) if context.options.json else keys[which])
    return 0


def _weather(context: _Context) -> int:
    options, admin = context.options, Admin(context.home)
    if options.reset:
        report = admin.delete("weather")
    elif options.file is not None or options.azure is not None:
        report = admin.post("weather", json.dumps(_asked_weather(options)))
    else:
        report = admin.get("weather")
    print(json.dumps(report, indent=2))
    return 0


def _asked_weather(options: argparse.Namespace) -> dict[str, Any]:
    named = options.file or "{}"
    try:
        text = sys.stdin.read() if named == "-" else named if named.startswith("{") else Path(named).read_text()
        asked = json.loads(text)
    except (OSError, ValueError) as error:
        raise LocalAzureError(f"{named} is no weather: {error}.") from None
    return asked if options.azure is None else {**asked, "latency": {"profile": "azure", "factor": options.azure}}


def _clock(context: _Context) -> int:
    options, admin = context.options, Admin(context.home, CLOCK_SECONDS)
    if options.to is not None or options.by is not None:
        shown = admin.post("clock", json.dumps({"to": options.to, "seconds": options.by}))
    else:
        shown = admin.get("clock")
    print(json.dumps(shown, indent=2))
    return 0


def _preempt(context: _Context) -> int:
    options = context.options
    asked = {"cluster": options.cluster, "nodes": options.nodes, "seconds": options.seconds}
    print(json.dumps(Admin(context.home).post("preempt", json.dumps(asked)), indent=2))
    return 0


def _logs(context: _Context) -> int:
    options, home = context.options, context.home
    find = logs.Named(Admin(home), options.name, options.container) if options.name else None
    logs.show(find or (lambda: logs.Found((_log(home),))), options.tail, options.follow)
    return 0


def _log(home: Home) -> Path:
    return home.logs / "localazure.log"


COMMANDS: Mapping[str, Callable[[_Context], int]] = {
    "start": _start,
    "stop": _stop,
    "status": _status,
    "env": _env,
    "logs": _logs,
    "keys": _keys,
    "weather": _weather,
    "clock": _clock,
    "preempt": _preempt,
    "reset": _reset,
    "serve": _serve,
}
