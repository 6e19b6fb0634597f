"""`make up`, `make preview` and `make down`: one stack by the Pulumi CLI, and under `local` its Local Azure.

Only `local` starts Local Azure. Any other stack goes where the environment says: to Azure, or to a Local Azure whose
variables the shell has evaluated.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from localazure.home import DEFAULT_NAME, Home
from localazure.pulumi_plugin.install import install as install_plugin
from tools import recovery, stack_files, summary
from tools.cache import cache_dir

ROOT = Path(__file__).resolve().parent.parent
LOCAL = "local"
HOME = ROOT / DEFAULT_NAME
INTERRUPTED = 130
# Steps at a time. Pulumi's own default is four times the cores; but a step does little else than wait for Azure, and
# the uploads of one endpoint must not keep the next one from being created.
PARALLEL = "64"

Environment = Mapping[str, str]


class UpError(Exception):
    """The stack cannot be worked on; the message says why and the way out."""


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("action", choices=ACTIONS)
    parser.add_argument("stack")
    options = parser.parse_args(arguments)
    try:
        return ACTIONS[options.action](options.stack)
    except (UpError, recovery.RecoveryError) as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return INTERRUPTED


def up(stack: str) -> int:
    environment = prepare(stack)
    recovery.bring_back(ROOT, stack, environment)
    if failed := recovery.unfinished(resources(stack, environment)):
        code = up_again(stack, environment, failed)
    else:
        code = pulumi(up_of(stack, environment), environment)
    if code == INTERRUPTED:
        print("Interrupted. `make up` goes on from here.", file=sys.stderr)
    elif code:
        print(summary.way_out(resources(stack, environment)), file=sys.stderr)
    if code == 0:
        outputs = stack_outputs(stack, environment)
        print(summary.of(outputs, environment if reaches_local_azure(environment) else None, stack))
    return code


def up_of(stack: str, environment: Environment) -> list[str]:
    return ["up", *unattended(environment), "--suppress-outputs", *named(stack, environment)]


def up_again(stack: str, environment: Environment, failed: Mapping[str, Sequence[str]]) -> int:
    """`up` where Azure did not finish something: the refresh that comes before it would forget that."""
    names = ", ".join(urn.rpartition("::")[2] for urn in failed)
    print(f"Azure did not finish {names} last time; writing it again.", flush=True)
    code = pulumi(["refresh", *unattended(environment), "--suppress-outputs", *named(stack, environment)], environment)
    # Also after a refresh that was interrupted: the next `up` must still know.
    recovery.remember(ROOT, stack, environment, failed)
    return code or pulumi([*up_of(stack, environment), "--refresh=false"], environment)


def resources(stack: str, environment: Environment) -> list[dict[str, Any]]:
    """What is in the stack's state."""
    state = recovery.checkpoint(ROOT, stack, environment)
    if state is None:
        state = json.loads(answer(["pulumi", "stack", "export", "--stack", stack], environment))["deployment"]
    return state.get("resources") or []


def stack_outputs(stack: str, environment: Environment) -> summary.Outputs:
    """The stack's outputs: from its state where that is a file at hand, which saves a second, else by the CLI."""
    if state := recovery.checkpoint(ROOT, stack, environment):
        return next(each for each in state["resources"] if each["type"] == "pulumi:pulumi:Stack").get("outputs") or {}
    return json.loads(answer(["pulumi", "stack", "output", "--json", "--stack", stack], environment))


def preview(stack: str) -> int:
    environment = prepare(stack)
    return pulumi(["preview", *preview_options(stack, environment)], environment)


def preview_options(stack: str, environment: Environment, configuration: Path | None = None) -> list[str]:
    """Of what Azure did not finish last time, a preview after a refresh would show nothing."""
    failed = recovery.unfinished(resources(stack, environment))
    return [*named(stack, environment, configuration), *(["--refresh=false"] if failed else [])]


def down(stack: str) -> int:
    """Destroy what the stack has made; the stack itself, with its history, can be brought up again."""
    if stack == LOCAL and not HOME.exists():
        print("There is nothing to take down: this clone has no Local Azure.")
        return 0
    environment = prepare(stack)
    recovery.bring_back(ROOT, stack, environment)
    code = pulumi(["destroy", *unattended(environment), *named(stack, environment)], environment)
    if code == 0 and stack == LOCAL:
        code = subprocess.call([sys.executable, "-m", "localazure", "stop"], cwd=ROOT)
        # Last: what an engine was about to start when it ended shows its name only a moment later.
        recovery.end_orphans(environment)
    return code


ACTIONS = {"up": up, "preview": preview, "down": down}


# where the stack goes


def prepare(stack: str) -> Environment:
    """The environment in which the CLI finds its programs, and the stack its cloud; the stack is there afterwards."""
    environment = tools_environment(os.environ)
    if stack == LOCAL:
        environment = local_azure(environment)
    if reaches_local_azure(environment):
        # Also where Local Azure was started from another clone, whose interpreter the plugin would use.
        install_plugin(Path(environment["PULUMI_HOME"]))
    recovery.free_dead_locks(stack, environment)
    select(stack, environment)
    return environment


def tools_environment(environ: Environment) -> dict[str, str]:
    first = [str(Path(sys.executable).parent), str(cache_dir(environ) / "bin")]
    rest = [folder for folder in environ.get("PATH", os.defpath).split(os.pathsep) if folder not in first]
    own = {"PATH": os.pathsep.join([*first, *rest]), "PULUMI_SKIP_UPDATE_CHECK": "true"}
    return {"PULUMI_PARALLEL": PARALLEL, **environ, **own}


def local_azure(environment: Environment, home: Path = HOME) -> Environment:
    """Start Local Azure, unless it runs, and take over the variables that lead to it.

    In this process, not by a command: starting Python twice more takes a second of every `make up`.
    """
    from localazure import cli
    from localazure.environment import led

    os.environ.update(environment)
    code = cli.main(["start", "--home", str(home)])
    if code == INTERRUPTED:
        raise KeyboardInterrupt
    if code:
        raise UpError("Local Azure did not start; what it said is above.")
    return led(Home.at(home), environment)


def reaches_local_azure(environment: Environment) -> bool:
    """Whether these are the variables of a Local Azure: machines in Azure may have an identity on loopback as well."""
    proxy = environment.get("LOCALAZURE_PROXY")
    loopback = urlsplit(environment.get("IDENTITY_ENDPOINT", "")).hostname == "127.0.0.1"
    return loopback and "PULUMI_HOME" in environment and proxy is not None and environment.get("HTTPS_PROXY") == proxy


def unattended(environment: Environment) -> list[str]:
    """On a laptop nothing needs a second thought; in Azure, Pulumi shows what it is about to do and asks."""
    return ["--yes", "--skip-preview"] if reaches_local_azure(environment) else []


def select(stack: str, environment: Environment) -> None:
    if recovery.checkpoint(ROOT, stack, environment) is None:
        try:
            if is_guest(stack, environment):
                create(stack, environment, made_in(stack, environment))
            answer(["pulumi", "stack", "select", "--create", "--non-interactive", stack], environment)
        except UpError as error:
            way_out = "Where Pulumi is to keep its state: `pulumi login`, or set PULUMI_BACKEND_URL."
            raise UpError(f"{error}\n{way_out}") from None


def create(stack: str, environment: Environment, folder: Path) -> None:
    """Makes a stack from a folder of its own, beside which the CLI writes what encrypts its state."""
    command = ["pulumi", "stack", "select", "--create", "--non-interactive", stack]
    answer(command, environment, folder=stack_files.project_copy(ROOT, folder))


def is_guest(stack: str, environment: Environment) -> bool:
    """Whether a stack of Azure is tried on Local Azure: its committed file is for Azure, and stays as it is."""
    return stack != LOCAL and reaches_local_azure(environment)


def made_in(stack: str, environment: Environment) -> Path:
    """The folder from which a guest is made."""
    return Path(environment["PULUMI_HOME"]) / "guests" / stack


def named(stack: str, environment: Environment, configuration: Path | None = None) -> list[str]:
    """The options that name a stack and its configuration: of a guest a copy of what is in its file now."""
    if configuration is None and is_guest(stack, environment):
        source, folder = ROOT / f"Pulumi.{stack}.yaml", made_in(stack, environment)
        folder.mkdir(parents=True, exist_ok=True)
        copy = stack_files.encrypted_as(stack_files.read(source), stack_files.read(folder / source.name))
        configuration = stack_files.write(folder / "configuration.yaml", copy)
    return ["--stack", stack, *(["--config-file", str(configuration)] if configuration else [])]


# the CLI


def pulumi(arguments: Sequence[str], environment: Environment) -> int:
    """Run the CLI to its end, also after Ctrl-C: the terminal sends that to it too, and it stops between two steps."""
    interruptions: list[int] = []
    process: subprocess.Popen[bytes] | None = None

    def interrupted(number: int, _: object) -> None:
        interruptions.append(number)
        if number != signal.SIGINT and process:
            process.send_signal(signal.SIGINT)

    # Before the CLI starts: a signal that arrives while it does must find the handler.
    handled = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, interrupted) for number in handled}
    try:
        process = subprocess.Popen(["pulumi", *arguments], cwd=ROOT, env=dict(environment))
        if set(interruptions) - {signal.SIGINT}:
            process.send_signal(signal.SIGINT)
        code = process.wait()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    return INTERRUPTED if interruptions and code else code


def answer(argv: Sequence[str], environment: Environment, *, input: str | None = None, folder: Path = ROOT) -> str:
    done = subprocess.run(argv, cwd=folder, env=dict(environment), input=input, capture_output=True, text=True)
    if done.returncode:
        raise UpError(f"`{shlex.join(argv)}` failed:\n{(done.stderr or done.stdout).strip()}")
    return done.stdout


if __name__ == "__main__":
    sys.exit(main())
