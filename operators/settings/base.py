"""What every section of the settings is made of."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from model_store.names import NAME_RULE, is_name

Share = Annotated[float, Field(ge=0, le=1)]
PositiveShare = Annotated[float, Field(gt=0, le=1)]


def _plain_name(name: str) -> str:
    if not is_name(name):
        message = f"must be {NAME_RULE}"
        raise ValueError(message)
    return name


Name = Annotated[str, Field(max_length=64), AfterValidator(_plain_name)]


class Section(BaseModel):
    """A part of the settings: frozen, and closed to names that it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)
