"""The ledger on Redis."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from model_store.errors import StoreUnavailable
from model_store.ledger import Grant, Usage, check_progress, check_settled, check_ttl
from model_store.redis_connection import RedisConnection, key_prefix
from model_store.window import Window, check_amounts, check_costs

# Of the hash of totals, in the order of `Usage`; `drawn`, its last, is a sum over the window.
_FIELDS: Final = (
    "seen",
    "deferred",
    "settled",
    "reserved",
    "retried",
    "disagreeing",
    "refunded",
    "seen_before",
    "reserved_before",
    "spent",
)
# KEYS: totals, shards, window, then one for each call id. ARGV: milliseconds of a part of the
# window (0 without one), parts that are kept, then what each script says. A call id holds what it
# drew, as part:amount. Amounts are formatted by hand: Lua writes large numbers as 1e+15.
_PRELUDE: Final = """
local totals, shards, window = KEYS[1], KEYS[2], KEYS[3]
local part_ms, kept = tonumber(ARGV[1]), tonumber(ARGV[2])
local part = 0
if part_ms > 0 then
  local now = redis.call('TIME')
  part = math.floor((now[1] * 1000 + now[2] / 1000) / part_ms)
end
local function drawn()
  local sum = 0
  local parts = part_ms > 0 and redis.call('HGETALL', window) or {}
  for i = 1, #parts, 2 do
    if tonumber(parts[i]) < part - kept then
      redis.call('HDEL', window, parts[i])
    else
      sum = sum + tonumber(parts[i + 1])
    end
  end
  return sum
end
local function draw(at, amount)
  if part_ms > 0 then
    redis.call('HINCRBY', window, at, string.format('%d', amount))
    redis.call('HINCRBY', totals, 'spent', string.format('%d', amount))
  end
end
local function draw_of(call)
  local at, amount = string.match(redis.call('GET', call) or '', '^(%d+):(%d+)$')
  return tonumber(at or 0), tonumber(amount or 0)
end
"""
_COUNTS: Final = """
local counts = redis.call('HMGET', totals, {})
counts[#counts + 1] = string.format('%d', drawn())
return counts
""".format(", ".join(f"'{field}'" for field in _FIELDS))

_USAGE: Final = _PRELUDE + _COUNTS

# Run twice, for a lost answer, it finds nothing left to add to what was before.
_BEGIN: Final = f"""{_PRELUDE}
redis.call('HINCRBY', totals, 'seen_before', redis.call('HGET', totals, 'seen') or 0)
redis.call('HSET', totals, 'reserved_before', redis.call('HGET', totals, 'reserved') or 0)
redis.call('DEL', shards)
redis.call('HDEL', totals, 'seen', 'deferred', 'settled', 'retried', 'disagreeing', 'refunded')
{_COUNTS}"""

# ARGV: the shard, its events seen and deferred.
_PROGRESS: Final = f"""{_PRELUDE}
for i, field in ipairs({{'seen', 'deferred'}}) do
  local of_shard = field .. ':' .. ARGV[3]
  local count = tonumber(ARGV[i + 3])
  local before = tonumber(redis.call('HGET', shards, of_shard) or 0)
  redis.call('HSET', shards, of_shard, count)
  redis.call('HINCRBY', totals, field, count - before)
end
{_COUNTS}"""

# ARGV: the cap or '', the ttl, 1 for retries, the window's limit or '', the amount of each call.
_RESERVE: Final = f"""{_PRELUDE}
local cap, ttl, limit = tonumber(ARGV[3]), ARGV[4], tonumber(ARGV[6])
local reserved = tonumber(redis.call('HGET', totals, 'reserved') or 0)
local sum = drawn()
local granted = {{}}
for i = 4, #KEYS do
  local before = redis.call('GET', KEYS[i])
  local amount = tonumber(ARGV[i + 3])
  local grant = 0
  if before then
    grant = 2
    redis.call('SET', KEYS[i], before, 'PX', ttl)
  elseif (not cap or reserved < cap) and (not limit or sum + amount <= limit) then
    grant = 1
    sum = sum + amount
    draw(part, amount)
    reserved = redis.call('HINCRBY', totals, 'reserved', 1)
    redis.call('HINCRBY', totals, 'retried', ARGV[5])
    redis.call('SET', KEYS[i], string.format('%d:%d', part, amount), 'PX', ttl)
  end
  granted[#granted + 1] = grant
end
return granted
"""

# ARGV: 1 for retries.
_REFUND: Final = f"""{_PRELUDE}
for i = 4, #KEYS do
  local at, amount = draw_of(KEYS[i])
  if redis.call('DEL', KEYS[i]) == 1 then
    draw(at, -amount)
    redis.call('HINCRBY', totals, 'reserved', -1)
    if ARGV[3] == '1' then
      redis.call('HINCRBY', totals, 'retried', -1)
    else
      redis.call('HINCRBY', totals, 'refunded', 1)
    end
  end
end
"""

# ARGV: the ttl, then what each call has cost.
_CORRECT: Final = f"""{_PRELUDE}
for i = 4, #KEYS do
  local at, amount = draw_of(KEYS[i])
  if redis.call('EXISTS', KEYS[i]) == 1 then
    local cost = tonumber(ARGV[i])
    draw(at, cost - amount)
    redis.call('SET', KEYS[i], string.format('%d:%d', at, cost), 'PX', ARGV[3])
  end
end
"""


class RedisLedger:
    """A `Ledger` on one Redis server, safe for threads.

    Parameters
    ----------
    url
        As `RedisConnection` takes it.
    namespace, task
        Whose counts; plain names.
    ttl_s
        How long ids and answers are remembered, in seconds.
    window
        What may be drawn by the clock of the server.

    Notes
    -----
    Keys, all in the slot of the task: ``{namespace:task}:ledger:totals``, ``:shards`` and
    ``:window`` (hashes), ``:call:*`` and ``:answer:*`` (one for each id, with a ttl). Ids come from
    the stream, so keys hold their sha256: any text may be one, and no key grows with it.
    """

    def __init__(
        self, url: str, namespace: str, task: str, ttl_s: float, window: Window | None = None
    ) -> None:
        check_ttl(ttl_s)
        self._prefix = key_prefix(namespace, task) + "ledger:"
        self._keys = [self._prefix + name for name in ("totals", "shards", "window")]
        self._parts = [0, 0] if window is None else [window.part_ms, window.kept]
        self._limit = "" if window is None else window.limit
        self._ttl_ms = round(ttl_s * 1000)
        self._redis = RedisConnection(url)
        self._usage = self._redis.script(_USAGE)
        self._begin = self._redis.script(_BEGIN)
        self._progress = self._redis.script(_PROGRESS)
        self._reserve = self._redis.script(_RESERVE)
        self._refund = self._redis.script(_REFUND)
        self._correct = self._redis.script(_CORRECT)

    def begin(self) -> Usage:
        """See `Ledger.begin`."""
        return self._counted(self._begin(self._keys, [*self._parts]))

    def progress(self, shard: str, *, seen: int, deferred: int) -> Usage:
        """See `Ledger.progress`."""
        check_progress(seen, deferred)
        return self._counted(self._progress(self._keys, [*self._parts, shard, seen, deferred]))

    def settle(self, settled: int, disagreeing: int = 0) -> None:
        """See `Ledger.settle`."""
        check_settled(settled, disagreeing)
        key = self._prefix + "totals"
        counts = {"settled": settled, "disagreeing": disagreeing}
        self._redis.call(lambda client: client.hset(key, mapping=counts))

    def usage(self) -> Usage:
        """See `Ledger.usage`."""
        return self._counted(self._usage(self._keys, [*self._parts]))

    def reserve(
        self,
        call_ids: Sequence[str],
        cap: int | None,
        *,
        retry: bool = False,
        amounts: Sequence[int] | None = None,
    ) -> list[Grant]:
        """See `Ledger.reserve`."""
        each = check_amounts(call_ids, amounts)
        most = "" if cap is None else cap
        granted = self._reserve(
            self._with(call_ids),
            [*self._parts, most, self._ttl_ms, int(retry), self._limit, *each],
        )
        return [Grant(flag) for flag in granted]

    def refund(self, call_ids: Sequence[str], *, retry: bool = False) -> None:
        """See `Ledger.refund`."""
        self._refund(self._with(call_ids), [*self._parts, int(retry)])

    def correct(self, costs: Mapping[str, int]) -> None:
        """See `Ledger.correct`."""
        check_costs(costs)
        self._correct(self._with(costs), [*self._parts, self._ttl_ms, *costs.values()])

    def forget(self, call_ids: Sequence[str]) -> None:
        """See `Ledger.forget`."""
        if call_ids:
            keys = [self._id_key("call", text) for text in call_ids]
            self._redis.call(lambda client: client.delete(*keys))

    def remember(self, answers: Mapping[str, bytes]) -> None:
        """See `Ledger.remember`."""
        pipeline = self._redis.call(lambda client: client.pipeline(transaction=False))
        for event_id, answer in answers.items():
            pipeline.set(self._id_key("answer", event_id), answer, px=self._ttl_ms)
        self._redis.call(lambda _: pipeline.execute())

    def recall(self, ids: Sequence[str]) -> dict[str, bytes]:
        """See `Ledger.recall`."""
        if not ids:
            return {}
        keys = [self._id_key("answer", event_id) for event_id in ids]
        found: list[bytes | None] = self._redis.call(lambda client: client.mget(keys))
        return {
            event_id: answer
            for event_id, answer in zip(ids, found, strict=True)
            if answer is not None
        }

    def close(self) -> None:
        """Close the idle connections."""
        self._redis.close()

    def _with(self, call_ids: Iterable[str]) -> list[str]:
        return [*self._keys, *(self._id_key("call", text) for text in call_ids)]

    def _id_key(self, kind: str, text: str) -> str:
        # Lone surrogates, which JSON can bring, are no reason to fail here.
        digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
        return f"{self._prefix}{kind}:{digest}"

    def _counted(self, counts: Sequence[bytes | None]) -> Usage:
        try:
            return Usage(*(int(count or 0) for count in counts))
        except ValueError as error:
            raise StoreUnavailable(self._redis.address, "its ledger holds no numbers") from error
