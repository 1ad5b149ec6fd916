"""The command line: `flink-cascade`."""

from flink_job.cli.main import app

__all__ = ["app"]
