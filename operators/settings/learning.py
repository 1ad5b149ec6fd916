"""How often what was learned is released."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from operators.settings.base import Section


class LearningSettings(Section):
    """How often what was learned is released to the cascade."""

    frozen: bool = False
    """Learn nothing and publish nothing: decide with the head release as it is."""
    release_every: Annotated[int, Field(ge=1)] = 16
    """Fewest annotations between two releases."""
    release_growth: Annotated[float, Field(ge=0, le=1)] = 0.05
    """Also wait until the annotations grew by this share since the last release ..."""
    release_at_most: Annotated[int, Field(ge=1)] = 256
    """... but for no more annotations than this."""
