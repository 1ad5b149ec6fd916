"""One tiny base model, and one cache of exported graphs, for all tests of the encoder level."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from operators.settings import EncoderSettings
from tests.operators.levels.encoder import tiny


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.make(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="session")
def written(model: Path, cache: Path) -> Callable[..., EncoderSettings]:
    """Makes settings of a level on the tiny model."""

    def write(**changes: Any) -> EncoderSettings:
        return tiny.written(model, **({"cache": cache} | changes))

    return write
