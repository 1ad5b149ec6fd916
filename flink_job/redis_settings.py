"""Addresses of Redis in the settings: without a password, which belongs into the environment."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import parse_qs, urlsplit

from pydantic import AfterValidator, Field

STORE_VARIABLE = "FLINK_CASCADE_REDIS_URL"
"""Where the URL of the store is, unless its settings say otherwise."""


def _without_password(url: str) -> str:
    try:
        parts = urlsplit(url)
    except ValueError:
        # Not chained, nor its text shown: it may quote what it can not parse.
        message = "can not be read as a URL; give redis:// or rediss://, a host and a port"
        raise ValueError(message) from None
    # Also where redis-py, or a slip of the pen, puts one.
    astray = "@" in parts.path + parts.query + parts.fragment  # not percent-encoded
    if parts.password or astray or "password" in parse_qs(parts.query):
        message = (
            "holds a password; leave `url` out, put the whole URL into an environment variable, "
            f"and name that under `url_env` (`store` looks into {STORE_VARIABLE} where it has none)"
        )
        raise ValueError(message)
    return url


RedisUrl = Annotated[str, Field(min_length=1), AfterValidator(_without_password)]
"""redis:// or rediss:// without a password."""
Variable = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]
"""Name of an environment variable."""
