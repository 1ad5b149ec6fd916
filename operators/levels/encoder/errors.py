"""Why an encoder level can not start; nothing here happens once it serves."""

from __future__ import annotations


class EncoderUnavailable(Exception):
    """The base model, its exported graph or the device is not to be had.

    Parameters
    ----------
    problem
        What happened, a sentence with its full stop.
    action
        What the operator can do about it.
    """

    def __init__(self, problem: str, action: str) -> None:
        super().__init__(f"{problem} Operator action: {action}")
