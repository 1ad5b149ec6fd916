"""An endpoint that answers at once."""

from collections.abc import Iterator

import pytest

from flink_job.demo.endpoint import RunningEndpoint
from tests.flink_job.demo.client import ANSWERS, FAST


@pytest.fixture
def endpoint() -> Iterator[RunningEndpoint]:
    with RunningEndpoint(FAST, ANSWERS) as running:
        yield running
