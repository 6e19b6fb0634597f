"""The ids that Azure gives its resources, as the configuration names those that are there."""

import re
from collections.abc import Iterator

GROUP = r"/subscriptions/[^/]+/resourceGroups/[^/]+"
GROUP_FORM = "/subscriptions/<id>/resourceGroups/<group>"


def is_id(value: str, kind: str | None = None) -> bool:
    """Whether it is the ARM id of a resource group or, with a `kind` (`Microsoft.Storage/storageAccounts`), of one."""
    return re.fullmatch(_pattern(kind), value, re.IGNORECASE) is not None


def id_findings(path: str, value: str | None, kind: str | None, what: str) -> Iterator[str]:
    """The finding on an id that is none of this kind; `what` is what it should be. None is no id, and fine."""
    if value is not None and not is_id(value, kind):
        yield f'{path}: "{value}" is not the ARM id of {what}; it has the form {_form(kind)}.'


def any_id_findings(path: str, value: str) -> Iterator[str]:
    """The finding on what is not the ARM id of a resource of whatever kind."""
    if not re.fullmatch(rf"{GROUP}/providers/[^/]+(/[^/]+/[^/]+)+", value, re.IGNORECASE):
        form = f"{GROUP_FORM}/providers/<namespace>/<type>/<name>"
        yield f'{path}: "{value}" is not the ARM id of a resource; it has the form {form}.'


def _pattern(kind: str | None) -> str:
    if kind is None:
        return GROUP
    namespace, *types = kind.split("/")
    return GROUP + "/providers/" + re.escape(namespace) + "".join(f"/{re.escape(each)}/[^/]+" for each in types)


def _form(kind: str | None) -> str:
    if kind is None:
        return GROUP_FORM
    namespace, *types = kind.split("/")
    return f"{GROUP_FORM}/providers/{namespace}" + "".join(f"/{each}/<name>" for each in types)
