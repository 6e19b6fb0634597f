"""Reads the installed pulumi_azure_native and writes `types.json`: the property names, types and api-versions that the
table's resource types and functions have in the SDK.

The SDK's modules are parsed, not imported: importing them takes many seconds. A test compares the file with what the
installed SDK yields, so the file cannot fall behind a new SDK.
"""

from __future__ import annotations

import ast
import importlib.util
import json
import re
from collections.abc import Iterator, Mapping
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from localazure.pulumi_plugin.table import FUNCTIONS, RESOURCES, VERSION

TYPES_FILE = Path(__file__).with_name("types.json")

_PRIMITIVES = {"str": "string", "int": "integer", "float": "number", "bool": "boolean"}
_TRANSPARENT = {"Input", "Output", "Optional"}

ShapeJson = str | dict[str, Any]


def sdk_folder() -> Path:
    """Folder of the installed SDK.

    Raises:
        ModuleNotFoundError: if pulumi_azure_native is not installed.
    """
    spec = importlib.util.find_spec("pulumi_azure_native")
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError("pulumi_azure_native is not installed; install the project's requirements")
    return Path(spec.submodule_search_locations[0])


class SdkModule:
    """One module of the SDK, such as `storage`, parsed."""

    def __init__(self, folder: Path) -> None:
        self.name = folder.name
        self._folder = folder

    @cached_property
    def _inputs(self) -> Mapping[str, ast.ClassDef]:
        return _classes(self._folder / "_inputs.py")

    @cached_property
    def _outputs(self) -> Mapping[str, ast.ClassDef]:
        return _classes(self._folder / "outputs.py")

    def type(self, name: str) -> ast.ClassDef | None:
        """The class of a nested type: an input's ends with `Args`, an output's does not."""
        return (self._inputs if name.endswith("Args") else self._outputs).get(name)

    def file(self, name: str) -> ast.Module:
        """The file that defines a resource or function, by its Pulumi name."""
        return ast.parse((self._folder / f"{_snake(name)}.py").read_text(encoding="utf-8"))


def generate() -> dict[str, Any]:
    """The content of `types.json` for the installed SDK."""
    return _Generator(sdk_folder()).run()


def text(content: Mapping[str, Any]) -> str:
    """`types.json` as it is written: one line a property, so that a new SDK's differences can be read."""
    return json.dumps(content, indent=1, sort_keys=True) + "\n"


def write() -> None:
    """Writes `types.json` beside this file."""
    TYPES_FILE.write_text(text(generate()), encoding="utf-8")


class _Generator:
    def __init__(self, sdk: Path) -> None:
        self._sdk = sdk
        self._types: dict[str, Any] = {}
        self._module = cache(lambda name: SdkModule(self._sdk / name))

    def run(self) -> dict[str, Any]:
        resources = {token: self._resource(token) for token in RESOURCES}
        functions = {token: self._function(token) for token in FUNCTIONS}
        return {"sdk": VERSION, "resources": resources, "functions": functions, "types": self._types}

    def _resource(self, token: str) -> dict[str, Any]:
        _, module_name, name = token.split(":")
        module = self._module(module_name)
        tree = module.file(name)
        classes = {node.name: node for node in tree.body if isinstance(node, ast.ClassDef)}
        # Where a nested type has the resource's name, the SDK calls the resource's own arguments otherwise.
        arguments = classes.get(f"{name}Args") or classes[f"{name}InitArgs"]
        inputs = self._object(module, arguments, {})
        outputs = self._object(module, classes[name], inputs["properties"])
        return {
            "apiVersion": _api_version(ast.get_docstring(_method(classes[name], "__init__")) or ""),
            "inputs": inputs,
            "outputs": {"properties": outputs["properties"]},
        }

    def _function(self, token: str) -> dict[str, Any]:
        _, module_name, name = token.split(":")
        module = self._module(module_name)
        tree = module.file(name)
        definition = next(n for n in tree.body if isinstance(n, ast.FunctionDef) and n.name == _snake(name))
        result = next(
            n for n in tree.body if isinstance(n, ast.ClassDef) and n.name == f"{name[0].upper()}{name[1:]}Result"
        )
        return {
            "apiVersion": _api_version(ast.get_docstring(definition) or ""),
            "arguments": list(_invoke_arguments(definition)),
            "result": self._object(module, result, {})["properties"],
        }

    def _object(self, module: SdkModule, node: ast.ClassDef, counterpart: Mapping[str, ShapeJson]) -> dict[str, Any]:
        """Properties, constants and required names of a class. `counterpart` are the input properties of the same
        type: outputs say `Any` where inputs name a union."""
        constants = _constants(node)
        properties: dict[str, ShapeJson] = {}
        python_names: dict[str, str] = {}
        for python_name, name, annotation in _getters(node):
            shape = self._shape(module, annotation, counterpart.get(name))
            constant = constants.get(python_name)
            properties[name] = {"const": constant} if constant is not None else shape
            python_names[python_name] = name
        required = sorted(python_names[name] for name in _required(node) if name in python_names)
        return {"properties": properties, "required": required}

    def _shape(self, module: SdkModule, annotation: ast.expr, counterpart: ShapeJson | None = None) -> ShapeJson:
        match annotation:
            case ast.Constant(value=str(name)):
                return self._reference(module, name.removeprefix("outputs."))
            case ast.Attribute(attr=name):
                return _PRIMITIVES.get(name, "any")
            case ast.Name(id="Any"):
                return self._output(module, counterpart)
            case ast.Name(id=name):
                return _PRIMITIVES.get(name, "any")
            case ast.Subscript(value=container, slice=argument):
                return self._generic(module, _last_name(container), argument, counterpart)
        return "any"

    def _generic(self, module: SdkModule, name: str, argument: ast.expr, counterpart: ShapeJson | None) -> ShapeJson:
        if name in _TRANSPARENT:
            return self._shape(module, argument, counterpart)
        if name == "Union" and isinstance(argument, ast.Tuple):
            return self._union(module, argument.elts)
        if name == "Mapping" and isinstance(argument, ast.Tuple):
            return {"map": self._shape(module, argument.elts[1], _item(counterpart, "map"))}
        if name == "Sequence":
            return {"array": self._shape(module, argument, _item(counterpart, "array"))}
        return "any"

    def _union(self, module: SdkModule, members: list[ast.expr]) -> ShapeJson:
        shapes = [self._shape(module, member) for member in members]
        references = [shape["ref"] for shape in shapes if isinstance(shape, dict) and "ref" in shape]
        if len(references) == len(shapes):
            return {"union": references}
        # A string or one of an enum's values: azure-native does not check enums, so the string is what counts.
        return "string" if all(shape == "string" for shape in shapes) else "any"

    def _reference(self, module: SdkModule, name: str) -> ShapeJson:
        node = module.type(name)
        if node is None:
            return "string"  # an enum
        key = f"{module.name}:{name}"
        if key not in self._types:
            self._types[key] = {}  # types may contain themselves
            self._types[key] = self._nested(module, name, node)
        return {"ref": key}

    def _nested(self, module: SdkModule, name: str, node: ast.ClassDef) -> dict[str, Any]:
        if name.endswith("Args"):
            twin = module.type(name.removesuffix("Args") + "Response")
            return _with_sets(self._object(module, node, {}), twin)
        twin = module.type(name.removesuffix("Response") + "Args")
        twin_properties = self._object(module, twin, {})["properties"] if twin else {}
        return {"properties": self._object(module, node, twin_properties)["properties"]}

    def _output(self, module: SdkModule, counterpart: ShapeJson | None) -> ShapeJson:
        """What an output of type `Any` is: a union of types if the input of the same name is one."""
        if not isinstance(counterpart, dict) or "union" not in counterpart:
            return "any"
        names = [name.split(":")[1].removesuffix("Args") + "Response" for name in counterpart["union"]]
        shapes = [self._reference(module, name) for name in names if module.type(name)]
        return {"union": [shape["ref"] for shape in shapes if isinstance(shape, dict)]} if shapes else "any"


def _classes(file: Path) -> Mapping[str, ast.ClassDef]:
    if not file.exists():
        return {}
    tree = ast.parse(file.read_text(encoding="utf-8"))
    return {node.name: node for node in tree.body if isinstance(node, ast.ClassDef)}


def _method(node: ast.ClassDef, name: str) -> ast.FunctionDef:
    return next(item for item in node.body if isinstance(item, ast.FunctionDef) and item.name == name)


def _getters(node: ast.ClassDef) -> Iterator[tuple[str, str, ast.expr]]:
    """Each property: its Python name, its Pulumi name and its annotation."""
    for item in node.body:
        if not isinstance(item, ast.FunctionDef) or item.returns is None:
            continue
        for decorator in item.decorator_list:
            if isinstance(decorator, ast.Attribute) and decorator.attr == "getter":
                yield item.name, item.name, item.returns
            elif isinstance(decorator, ast.Call) and _last_name(decorator.func) == "getter":
                yield item.name, str(_constant(decorator.keywords[0].value)), item.returns


def _constants(node: ast.ClassDef) -> dict[str, str]:
    """Properties that the constructor always sets to one value: what tells the members of a union apart."""
    found: dict[str, str] = {}
    for statement in _method(node, "__init__").body:
        match statement:
            case ast.Expr(
                value=ast.Call(func=ast.Attribute(attr="set"), args=[_, name, ast.Constant(value=str(value))])
            ):
                found[str(_constant(name))] = value
    return found


def _required(node: ast.ClassDef) -> Iterator[str]:
    arguments = _method(node, "__init__").args
    for argument, default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True):
        if default is None:
            yield argument.arg


def _invoke_arguments(definition: ast.FunctionDef) -> Iterator[str]:
    for statement in definition.body:
        match statement:
            case ast.Assign(
                targets=[ast.Subscript(value=ast.Name(id="__args__"), slice=ast.Constant(value=str(name)))]
            ):
                yield name


def _with_sets(content: dict[str, Any], output: ast.ClassDef | None) -> dict[str, Any]:
    """Marks lists of strings whose output is a map: ARM has them as `{id: {}}` (`userAssignedIdentities`)."""
    maps = {name for _, name, annotation in _getters(output) if "Mapping[" in ast.unparse(annotation)} if output else ()
    for name in maps:
        if content["properties"].get(name) == {"array": "string"}:
            content["properties"][name] = "set"
    return content


def _api_version(docstring: str) -> str:
    found = re.search(r"Uses Azure REST API version (\S+?)\.(?:\s|$)", docstring)
    if found is None:
        raise ValueError(f"the SDK names no api-version in: {docstring[:200]!r}")
    return found.group(1)


def _last_name(node: ast.expr) -> str:
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def _constant(node: ast.expr) -> object:
    return node.value if isinstance(node, ast.Constant) else None


def _item(shape: ShapeJson | None, kind: str) -> ShapeJson | None:
    return shape.get(kind) if isinstance(shape, dict) else None


def _snake(name: str) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()
