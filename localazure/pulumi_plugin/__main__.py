"""`python -m localazure.pulumi_plugin serve|install|generate`."""

from __future__ import annotations

import argparse
import importlib.machinery
import importlib.util
import os
import sys
import types
from pathlib import Path


def main(arguments: list[str] | None = None) -> None:
    """Runs one of the commands."""
    parser = argparse.ArgumentParser(prog="python -m localazure.pulumi_plugin", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    serve = commands.add_parser("serve", help="run the provider; the Pulumi engine calls this")
    serve.add_argument("engine", nargs="?", help="address of the engine")
    serve.add_argument("--parent", type=int, default=os.getppid(), help="process of the engine, with which to end")
    install = commands.add_parser("install", help="make the provider known to the Pulumi CLI")
    install.add_argument("--home", default=os.environ.get("PULUMI_HOME"), help="Pulumi's home; default: $PULUMI_HOME")
    commands.add_parser("generate", help="write types.json anew from the installed SDK")
    # The engine may pass further options, meant for official plugins.
    parsed, _ = parser.parse_known_args(arguments)
    {"serve": _serve, "install": _install, "generate": _generate}[parsed.command](parsed)


def _serve(parsed: argparse.Namespace) -> None:
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # the engine shows what a plugin prints
    _skip_sdk_import()
    from localazure.pulumi_plugin.server import serve

    serve(parsed.engine, parsed.parent)


def _install(parsed: argparse.Namespace) -> None:
    from localazure.pulumi_plugin.install import install

    if not parsed.home:
        sys.exit("no Pulumi home: set PULUMI_HOME (python -m localazure env does) or pass --home")
    changed = install(Path(parsed.home))
    print(f"azure-native provider for Local Azure: {'installed' if changed else 'up to date'}")


def _generate(parsed: argparse.Namespace) -> None:
    from localazure.pulumi_plugin.generate import write

    write()


def _skip_sdk_import() -> None:
    """Lets `pulumi.runtime.proto` be imported without the Pulumi SDK around it, whose import takes three times as long
    as all else here. Only for this process, which needs nothing but the messages."""
    spec = importlib.util.find_spec("pulumi")
    if spec is None or not spec.submodule_search_locations:
        sys.exit("the Pulumi SDK for Python is not installed; install the project's requirements")
    folder = Path(spec.submodule_search_locations[0])
    for name in ("pulumi", "pulumi.runtime", "pulumi.runtime.proto"):
        module = types.ModuleType(name)
        module.__path__ = [str(folder.parent.joinpath(*name.split(".")))]
        module.__spec__ = importlib.machinery.ModuleSpec(name, None, is_package=True)
        sys.modules[name] = module


if __name__ == "__main__":
    main()
