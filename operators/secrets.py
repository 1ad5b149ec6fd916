"""Secrets from the environment, or from a file that the environment names."""

from __future__ import annotations

import os
from pathlib import Path

_FILE = "_FILE"


def read_secret(variable: str) -> str | None:
    """The secret in an environment variable, or in the file that ``<variable>_FILE`` names.

    A file keeps it out of the environment, which PyFlink hands on to every process that it starts
    and may log; Kubernetes and Docker mount secrets as files.

    Returns
    -------
    The secret without blanks around it, None where neither is set or what is there is empty.

    Raises
    ------
    ValueError
        If the file can not be read.
    """
    value = os.environ.get(variable, "").strip()
    path = os.environ.get(variable + _FILE, "").strip()
    if value or not path:
        return value or None
    try:
        return Path(path).read_text(encoding="utf-8").strip() or None
    except (OSError, UnicodeDecodeError) as error:
        message = (
            f"{variable}{_FILE} is {path}, which can not be read ({type(error).__name__}). "
            "Operator action: mount the secret there, readable for the user that Flink runs as."
        )
        raise ValueError(message) from error
