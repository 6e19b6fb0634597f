"""Imports of azure-native's services, one resource at a time.

The package of a service imports every resource that it has: for Azure ML alone 90 of them, of which a stack uses six.
Measured on a laptop, that is half of the time that a preview of an unchanged stack takes. azure-native takes a service
that is in `sys.modules` as it is, so the ones that stand there after `use` find each name in its own module.
"""

import importlib
import importlib.util
import re
import sys
from importlib.machinery import PathFinder
from pathlib import Path
from types import ModuleType
from typing import Any

SDK = "pulumi_azure_native"


class LeanService(ModuleType):
    """A service whose names are imported when they are first asked for; the whole of it for a name of another kind."""

    def __getattr__(self, name: str) -> Any:
        # `outputs` and the like are modules, which Python imports by itself when they are not found here.
        if name.startswith("_") or name == "outputs":
            raise AttributeError(name)
        for module in (_module_of(name), "_inputs"):
            found = self._find(module, name)
            if found is not None:
                return found
        _load_whole(self)
        return self.__dict__[name] if name in self.__dict__ else _missing(self, name)

    def _find(self, module: str, name: str) -> Any:
        full = f"{self.__name__}.{module}"
        if not importlib.util.find_spec(full):
            return None
        imported = importlib.import_module(full)
        # A function's module has the function's name, and has just taken its place here.
        if function := getattr(imported, module, None):
            setattr(self, module, function)
        return getattr(imported, name, None)


def use(*services: str) -> None:
    """Makes these services of azure-native lean, unless something has imported them already."""
    for service in services:
        name = f"{SDK}.{service}"
        if name not in sys.modules:
            lean = LeanService(name)
            lean.__path__ = [str(Path(folder) / service) for folder in _folders()]
            lean.__package__ = name
            sys.modules[name] = lean


def _folders() -> list[str]:
    # The package's folder without importing it: it looks for its services in `sys.modules` when it is imported.
    spec = importlib.util.find_spec(SDK)
    return list(spec.submodule_search_locations or []) if spec else []


def _load_whole(service: LeanService) -> None:
    spec = PathFinder.find_spec(service.__name__, _folders())
    if spec and spec.loader:
        spec.loader.exec_module(service)


def _missing(service: LeanService, name: str) -> Any:
    raise AttributeError(f"module {service.__name__!r} has no attribute {name!r}")


def _module_of(name: str) -> str:
    """Where azure-native keeps a resource, a function or its result: `OnlineEndpoint` in `online_endpoint`."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name.removesuffix("Result")).lower()
