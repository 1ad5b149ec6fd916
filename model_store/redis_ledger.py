"""The ledger on Redis."""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Final

from model_store.errors import StoreUnavailable
from model_store.ledger import Grant, Usage, check_progress, check_settled, check_ttl
from model_store.redis_connection import RedisConnection, key_prefix

# Of the hash of totals, in the order of `Usage`.
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
)
_COUNTS: Final = "return redis.call('HMGET', totals, {})".format(
    ", ".join(f"'{field}'" for field in _FIELDS)
)

# Run twice, for a lost answer, it finds nothing left to add to what was before.
_BEGIN: Final = f"""
local totals, shards = unpack(KEYS)
redis.call('HINCRBY', totals, 'seen_before', redis.call('HGET', totals, 'seen') or 0)
redis.call('HSET', totals, 'reserved_before', redis.call('HGET', totals, 'reserved') or 0)
redis.call('DEL', shards)
redis.call('HDEL', totals, 'seen', 'deferred', 'settled', 'retried', 'disagreeing', 'refunded')
{_COUNTS}
"""

_PROGRESS: Final = f"""
local totals, shards = unpack(KEYS)
for i, field in ipairs({{'seen', 'deferred'}}) do
  local of_shard = field .. ':' .. ARGV[1]
  local count = tonumber(ARGV[i + 1])
  local before = tonumber(redis.call('HGET', shards, of_shard) or 0)
  redis.call('HSET', shards, of_shard, count)
  redis.call('HINCRBY', totals, field, count - before)
end
{_COUNTS}
"""

# KEYS: the totals, then one for each call id. ARGV: the cap or '', the ttl, 1 for retries.
_RESERVE: Final = """
local cap = tonumber(ARGV[1])
local reserved = tonumber(redis.call('HGET', KEYS[1], 'reserved') or 0)
local granted = {}
for i = 2, #KEYS do
  local known = redis.call('EXISTS', KEYS[i]) == 1
  local grant = known or not cap or reserved < cap
  if grant then
    if not known then
      reserved = redis.call('HINCRBY', KEYS[1], 'reserved', 1)
      redis.call('HINCRBY', KEYS[1], 'retried', ARGV[3])
    end
    redis.call('SET', KEYS[i], '', 'PX', ARGV[2])
  end
  granted[#granted + 1] = known and 2 or grant and 1 or 0
end
return granted
"""

# KEYS: the totals, then one for each call id. ARGV: 1 for retries.
_REFUND: Final = """
for i = 2, #KEYS do
  if redis.call('DEL', KEYS[i]) == 1 then
    redis.call('HINCRBY', KEYS[1], 'reserved', -1)
    if ARGV[1] == '1' then
      redis.call('HINCRBY', KEYS[1], 'retried', -1)
    else
      redis.call('HINCRBY', KEYS[1], 'refunded', 1)
    end
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

    Notes
    -----
    Keys, all in the slot of the task: ``{namespace:task}:ledger:totals`` and ``:shards`` (hashes),
    ``:call:*`` and ``:answer:*`` (one for each id, with a ttl). Ids come from the stream, so keys
    hold their sha256: any text may be one, and no key grows with it.
    """

    def __init__(self, url: str, namespace: str, task: str, ttl_s: float) -> None:
        check_ttl(ttl_s)
        self._prefix = key_prefix(namespace, task) + "ledger:"
        self._ttl_ms = round(ttl_s * 1000)
        self._redis = RedisConnection(url)
        self._begin = self._redis.script(_BEGIN)
        self._progress = self._redis.script(_PROGRESS)
        self._reserve = self._redis.script(_RESERVE)
        self._refund = self._redis.script(_REFUND)

    def begin(self) -> Usage:
        """See `Ledger.begin`."""
        return self._counted(self._begin([self._prefix + "totals", self._prefix + "shards"], []))

    def progress(self, shard: str, *, seen: int, deferred: int) -> Usage:
        """See `Ledger.progress`."""
        check_progress(seen, deferred)
        keys = [self._prefix + "totals", self._prefix + "shards"]
        return self._counted(self._progress(keys, [shard, seen, deferred]))

    def settle(self, settled: int, disagreeing: int = 0) -> None:
        """See `Ledger.settle`."""
        check_settled(settled, disagreeing)
        key = self._prefix + "totals"
        counts = {"settled": settled, "disagreeing": disagreeing}
        self._redis.call(lambda client: client.hset(key, mapping=counts))

    def usage(self) -> Usage:
        """See `Ledger.usage`."""
        key = self._prefix + "totals"
        return self._counted(self._redis.call(lambda client: client.hmget(key, list(_FIELDS))))

    def reserve(
        self, call_ids: Sequence[str], cap: int | None, *, retry: bool = False
    ) -> list[Grant]:
        """See `Ledger.reserve`."""
        keys = [self._prefix + "totals", *(self._id_key("call", text) for text in call_ids)]
        granted = self._reserve(keys, ["" if cap is None else cap, self._ttl_ms, int(retry)])
        return [Grant(flag) for flag in granted]

    def refund(self, call_ids: Sequence[str], *, retry: bool = False) -> None:
        """See `Ledger.refund`."""
        keys = [self._prefix + "totals", *(self._id_key("call", text) for text in call_ids)]
        self._refund(keys, [int(retry)])

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

    def _id_key(self, kind: str, text: str) -> str:
        # Lone surrogates, which JSON can bring, are no reason to fail here.
        digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
        return f"{self._prefix}{kind}:{digest}"

    def _counted(self, counts: Sequence[bytes | None]) -> Usage:
        try:
            return Usage(*(int(count or 0) for count in counts))
        except ValueError as error:
            raise StoreUnavailable(self._redis.address, "its ledger holds no numbers") from error
