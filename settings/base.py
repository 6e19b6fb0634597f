"""What every part of the configuration is made of."""

from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from pydantic.alias_generators import to_camel
from pydantic_core import PydanticCustomError


class SettingsModel(BaseModel):
    """What every part of the configuration is: frozen, camelCase, and without unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", alias_generator=to_camel, protected_namespaces=())


def no_boolean(value: object) -> object:
    """Refuses true and false where a number is wanted."""
    if isinstance(value, bool):
        raise PydanticCustomError("int_type", "Input should be a valid integer")
    return value


def _no_boolean_either(value: object) -> object:
    if isinstance(value, bool):
        raise PydanticCustomError("float_type", "Input should be a valid number")
    return value


# Python takes true for 1, and pydantic follows it.
# Azure's own numbers have 32 bits.
Whole = Annotated[int, BeforeValidator(no_boolean), Field(le=2**31 - 1)]
Number = Annotated[float, BeforeValidator(_no_boolean_either)]
Share = Annotated[Number, Field(ge=0, le=1)]
