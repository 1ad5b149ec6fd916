"""A template grammar: a symbol becomes one of its templates, whose slots are symbols again."""

import random
import re
from collections.abc import Mapping

Rules = Mapping[str, tuple[str, ...]]
"""For each symbol its templates; ``{name}`` in a template is a slot for the symbol ``name``."""

_SLOT = re.compile(r"\{(\w+)\}")
_RULE = re.compile(r"^(\w+):((?:.*\n?)(?:[ ]+.*\n?)*)", re.MULTILINE)


def parse_rules(text: str) -> Rules:
    """Read rules from their notation.

    Parameters
    ----------
    text
        A rule is ``symbol: template | template``, starts at the margin, and goes on over the
        indented lines that follow it. White space around a template does not count.

    Returns
    -------
    Rules
        The rules, in the order of the text. Where a symbol comes twice the last rule holds.
    """
    return {
        symbol: tuple(" ".join(template.split()) for template in templates.split("|"))
        for symbol, templates in _RULE.findall(text)
    }


def expand(rng: random.Random, rules: Rules, symbol: str) -> str:
    """Write one text for a symbol.

    Parameters
    ----------
    rng
        Advanced by one draw for each symbol that is expanded.
    rules
        Must not be recursive: a symbol that can reach itself may never end.
    symbol
        Where to start.

    Returns
    -------
    str
        A text without slots.

    Raises
    ------
    KeyError
        If the symbol, or one that a chosen template names, has no rule.
    """
    template = rng.choice(rules[symbol])
    return _SLOT.sub(lambda slot: expand(rng, rules, slot[1]), template)
