"""What a command imports before it knows what it is to do."""

from __future__ import annotations

import subprocess
import sys

SLOW = {"matplotlib", "openai", "aiohttp", "scipy.stats", "sklearn", "torch", "pyflink", "pandas"}


def test_the_command_line_starts_without_what_most_commands_do_without() -> None:
    script = "import sys, flink_job.cli; print(*sys.modules)"
    found = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True)  # noqa: S603  # own interpreter
    assert SLOW.isdisjoint(found.stdout.decode().split())
