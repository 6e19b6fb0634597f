"""What every part of the configuration is made of."""

from typing import Annotated

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field
from pydantic.alias_generators import to_camel
from pydantic_core import PydanticCustomError

LARGEST = 2**31 - 1


class SettingsModel(BaseModel):
    """What every part of the configuration is: frozen, camelCase, and without unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", alias_generator=to_camel, protected_namespaces=())


def no_boolean(value: object) -> object:
    """Refuses true and false where a number is wanted."""
    if isinstance(value, bool):
        raise PydanticCustomError("int_type", "Input should be a valid integer")
    return value


def of_32_bits(value: int) -> int:
    """Refuses what ARM's integers cannot hold, and what arrives there as another number."""
    if abs(value) > LARGEST:
        raise PydanticCustomError("less_than_equal", "Input should be at most {most}", {"most": LARGEST})
    return value


# Python takes true for 1, and pydantic follows it.
Whole = Annotated[int, BeforeValidator(no_boolean), AfterValidator(of_32_bits)]
Share = Annotated[float, BeforeValidator(no_boolean), Field(ge=0, le=1)]
