"""What flows between the Python operators: one record is a chunk of one shard.

The record is what PyFlink charges for, so everything travels, is decided and is kept in state by
the chunk.
"""

from __future__ import annotations

from pyflink.common import Types
from pyflink.datastream import OutputTag

BYTES = Types.PRIMITIVE_ARRAY(Types.BYTE())
CHUNK = Types.TUPLE([Types.INT(), BYTES])
"""(shard, packed records)."""
LINES = Types.STRING()
"""JSON lines, without the last newline: a sink writes the chunk as it is."""
VERDICTS = Types.TUPLE([LINES, BYTES])
"""(decisions as JSON lines, packed lesson)."""

TICK = b""
"""In place of a chunk's records: a look at the clock for all that wait along its shard."""
END = b"end"
"""In place of a chunk's records: the shard's stream ends here."""

DEFERRALS = OutputTag("deferrals", CHUNK)
DEAD_LETTERS = OutputTag("dead-letters", LINES)
ANNOTATIONS = OutputTag("annotations", LINES)
EVIDENCE = OutputTag("evidence", LINES)
