"""What a source and a sink of Kafka have in common: how a client reaches the brokers."""

from __future__ import annotations

import re
from typing import Annotated, Self

from pydantic import Field, model_validator

from operators.settings.base import Section

Topic = Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,249}$")]
"""Kafka's own rule for names of topics."""
Names = dict[Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]+$")], str]
# Kafka's clients replace ${provider:key} by what the provider finds on the machine they run on.
_REFERENCE = re.compile(r"\$\{[a-z]+:[^}]+\}")
_SECRET_INSIDE_JAAS = re.compile(r"(?:password|secret)\w*\s*=\s*\"?(?!\"?\$\{)", re.IGNORECASE)


class KafkaConnection(Section):
    """How a Kafka client reaches its brokers."""

    bootstrap: Annotated[str, Field(pattern=r"^[^\s:,]+:\d+(,[^\s:,]+:\d+)*$")]
    """host:port of some brokers, separated by commas."""
    properties: Names = Field(default_factory=dict)
    """Passed on to Kafka's clients as they are, such as `security.protocol`. A secret is given as
    a reference, `${env:NAME}` or `${file:/path:key}`, which the clients resolve where they run."""

    @model_validator(mode="after")
    def _no_secret(self) -> Self:
        for name, value in self.properties.items():
            if _holds_secret(name, value):
                message = (
                    f"`properties.{name}` holds a secret; write ${{env:NAME}} in its place, and "
                    "put it into the environment of JobManager and TaskManagers"
                )
                raise ValueError(message)
        return self


def _holds_secret(name: str, value: str) -> bool:
    if name.endswith("jaas.config"):
        return bool(_SECRET_INSIDE_JAAS.search(value))
    secret = name.endswith(("password", "secret", ".key"))
    return secret and not _REFERENCE.fullmatch(value.strip())
