"""The rules for scoring scripts: that they parse, and define what Azure calls.

A script is read, never run. What its text does not decide (a name that is imported, assigned, or made while it runs) is
taken as it is.

Source: how azureml-inference-server-http loads a script (its `user_script.py`), and
https://learn.microsoft.com/azure/machine-learning/how-to-batch-scoring-script.
"""

import ast
import difflib
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

Kind = Literal["online", "batch"]
Function = ast.FunctionDef | ast.AsyncFunctionDef
Python = tuple[int, int]

# What puts names into a module that its text does not show.
DYNAMIC = {"globals", "locals", "vars", "exec", "eval", "setattr", "modules", "__getattr__", "driver_module"}
PARAMETER = {"online": "raw_data", "batch": "mini_batch"}

Findings = Iterator[str]


def script_findings(path: str, name: str, script: Path, kind: Kind, python: Python | None) -> Findings:
    """What is wrong with the scoring script `name`; `python` is the version that it will run on, where it is known."""
    try:
        tree = _parsed(script)
    except OSError as error:
        yield f'{path}: "{name}" cannot be read: {error.strerror}; correct the file\'s permissions.'
    except (SyntaxError, ValueError) as error:
        # A newer Python may have syntax that this one lacks.
        if python is None or python <= sys.version_info[:2]:
            yield f'{path}: "{name}" is not Python: {_where(error)}; correct the script.'
    except RecursionError:
        return
    else:
        yield from _functions(path, name, tree, kind)


def _parsed(script: Path) -> ast.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        # As bytes, so that the script's own encoding is gone by.
        return ast.parse(script.read_bytes())


def _where(error: Exception) -> str:
    if isinstance(error, SyntaxError) and error.lineno:
        return f"{error.msg} (line {error.lineno})"
    return str(error)


def _functions(path: str, name: str, tree: ast.Module, kind: Kind) -> Findings:
    if any(_is_dynamic(node) for node in ast.walk(tree)):
        return
    bound = list(_bindings(tree.body)) + list(_globals(tree))
    for wanted in ("init", "run"):
        there = [node for each, node in bound if each == wanted]
        if not there:
            yield _missing(path, name, wanted, kind, [each for each, _ in bound])
        elif len(there) == 1 and isinstance(there[0], Function) and not there[0].decorator_list:
            problem = _init_problem(there[0]) if wanted == "init" else _run_problem(there[0], kind)
            if problem:
                yield f'{path}: {wanted}() of "{name}" (line {there[0].lineno}) {problem}.'


def _is_dynamic(node: ast.AST) -> bool:
    if isinstance(node, ast.ImportFrom):
        return any(alias.name == "*" for alias in node.names)
    called = getattr(node, "id", None) or getattr(node, "attr", None) or getattr(node, "name", None)
    return called in DYNAMIC


def _bindings(body: list[ast.stmt]) -> Iterator[tuple[str, ast.AST]]:
    """The names that statements bind, with what binds each; not those within functions and classes."""
    for node in body:
        yield from _bound_by(node)


def _bound_by(node: ast.AST) -> Iterator[tuple[str, ast.AST]]:
    if isinstance(node, Function | ast.ClassDef):
        yield node.name, node
        return
    if isinstance(node, ast.Import | ast.ImportFrom):
        yield from ((alias.asname or alias.name.partition(".")[0], node) for alias in node.names)
    if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
        yield node.id, node
    if isinstance(node, ast.Lambda):
        return
    for child in ast.iter_child_nodes(node):
        yield from _bound_by(child)


def _globals(tree: ast.Module) -> Iterator[tuple[str, ast.AST]]:
    """The names that functions declare to be the module's."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Global):
            yield from ((name, node) for name in node.names)


def _missing(path: str, name: str, wanted: str, kind: Kind, there: list[str]) -> str:
    form = "init()" if wanted == "init" else f"run({PARAMETER[kind]})"
    close = [each for each in there if each.lower() == wanted] or difflib.get_close_matches(wanted, there, n=1)
    hint = f'; did you mean it by "{close[0]}"? Rename that' if close else "; define it"
    return f'{path}: "{name}" defines no {form}, which Azure calls{hint}.'


def _init_problem(function: Function) -> str | None:
    if needed := _required(function):
        return f"asks for {', '.join(needed)}, but Azure calls it with nothing: write def init()"
    return None


def _run_problem(function: Function, kind: Kind) -> str | None:
    form, given = f"write def run({PARAMETER[kind]})", function.args
    if isinstance(function, ast.AsyncFunctionDef):
        return f"is async, but Azure does not wait for what it returns: {form}"
    # The server hands over the request by the parameter's name.
    if kind == "online" and (given.posonlyargs or given.vararg or given.kwarg):
        return f"takes positional-only arguments, *args or **kwargs, which Azure's server refuses: {form}"
    most = [each.arg for each in (*given.posonlyargs, *given.args, *(given.kwonlyargs if kind == "online" else ()))]
    free = [each for each in most if each != "request_headers"] if kind == "online" else most
    if not free and not given.vararg:
        return f"takes no argument, but Azure gives it one: {form}"
    extra = [each for each in _required(function) if each not in (free[:1] or [""])]
    extra = [each for each in extra if kind == "batch" or each != "request_headers"]
    if extra:
        return f"asks for {', '.join(extra)} too, which Azure does not give: {form}"
    return None


def _required(function: Function) -> list[str]:
    given = function.args
    positional = [*given.posonlyargs, *given.args]
    named = [each for each, default in zip(given.kwonlyargs, given.kw_defaults, strict=True) if default is None]
    return [each.arg for each in (*positional[: len(positional) - len(given.defaults)], *named)]
