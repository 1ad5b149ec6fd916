"""The ledger on Redis."""

import hashlib
import json
import uuid
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from model_store import ledger_scripts as scripts
from model_store.errors import StoreUnavailable
from model_store.ledger import Grant, Usage, check_progress, check_settled, check_ttl
from model_store.redis_connection import RedisConnection, key_prefix
from model_store.window import Window, check_amounts, check_costs
from model_store.witness import Sight, Spent, Witness

# Those of the totals that nobody tells again when they are lost.
_RAISED: Final = (
    "settled",
    "retried",
    "disagreeing",
    "refunded",
    "seen_before",
    "reserved_before",
    "refused",
    "spent",
)
_ATTEMPTS: Final = 3  # to find a ledger that does not lose its data in the same moment


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
    client
        Who is granted calls here, by a name that stays the same when it starts again.

    Notes
    -----
    Keys, all in the slot of the task: ``{namespace:task}:ledger:totals``, ``:shards``, ``:window``
    and ``:clients`` (hashes), ``:call:*`` and ``:answer:*`` (one for each id, with a ttl). Ids come
    from the stream, so keys hold their sha256: any text may be one, and no key grows with it.

    A server that lost its data, all or the latest, is raised to what the clients saw: each of them
    looks before a call is granted to it, and is granted nothing before it has told. After that the
    count holds every call again that was granted to a client that lives, or was seen by one, or is
    in a `testimony` that was handed to one. What remains possible: a client that tells first can
    be granted calls on top of what the others were granted since it last looked, until they look;
    calls that were granted to a client that died are forgotten if nobody looked after them; and the
    window holds what the one that saw the most of it saw, as if it had just been drawn. Ids and
    answers are not told again: what is asked again after a failure is paid again.
    """

    def __init__(
        self,
        url: str,
        namespace: str,
        task: str,
        ttl_s: float,
        window: Window | None = None,
        *,
        client: str = "-",
    ) -> None:
        check_ttl(ttl_s)
        self._prefix = key_prefix(namespace, task) + "ledger:"
        self._keys = [self._prefix + name for name in ("totals", "shards", "window", "clients")]
        self._parts = [0, 0] if window is None else [window.part_ms, window.kept]
        self._limit = "" if window is None else window.limit
        self._ttl_ms = round(ttl_s * 1000)
        self._client = client
        self._witness = Witness()
        self._redis = RedisConnection(url)
        self._usage = self._redis.script(scripts.USAGE)
        self._raise = self._redis.script(scripts.RAISE)
        self._begin = self._redis.script(scripts.BEGIN)
        self._progress = self._redis.script(scripts.PROGRESS)
        self._reserve = self._redis.script(scripts.RESERVE)
        self._refund = self._redis.script(scripts.REFUND)
        self._correct = self._redis.script(scripts.CORRECT)

    def begin(self) -> Usage:
        """See `Ledger.begin`."""
        epoch = f"{uuid.uuid4().hex}.{uuid.uuid4().hex}"
        sight = self._sight(self._begin(self._keys, [*self._parts, epoch]))
        self._witness.note(sight)
        return sight.usage

    def begun(self) -> bool:
        """See `Ledger.begun`."""
        return bool(self._sight(self._usage(self._keys, [*self._parts])).job)

    def progress(self, shard: str, *, seen: int, deferred: int) -> Usage:
        """See `Ledger.progress`."""
        check_progress(seen, deferred)
        self._witness.said(shard, seen, deferred)
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
        asked = [most, self._ttl_ms, int(retry), self._limit, *each]
        for _ in range(_ATTEMPTS):
            seen = self._witness.latest()
            known = seen.spent.get(self._client, Spent()).granted
            told = (self._client, seen.epoch or "", known)
            answer = self._reserve(self._with(call_ids), [*self._parts, *told, *asked])
            if answer is not None:
                granted, in_all = answer
                self._witness.granted(self._client, in_all)
                return [Grant(flag) for flag in granted]
            self.usage()  # which raises it
        raise StoreUnavailable(self._redis.address, "its ledger loses what it is told")

    def refund(self, call_ids: Sequence[str], *, retry: bool = False) -> None:
        """See `Ledger.refund`."""
        self._refund(self._with(call_ids), [*self._parts, int(retry), self._client])

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

    def testimony(self) -> bytes:
        """See `Ledger.testimony`."""
        return self._witness.testimony()

    def testify(self, testimony: bytes) -> None:
        """See `Ledger.testify`."""
        self._witness.testify(testimony)

    def close(self) -> None:
        """Close the idle connections."""
        self._redis.close()

    def _with(self, call_ids: Iterable[str]) -> list[str]:
        return [*self._keys, *(self._id_key("call", text) for text in call_ids)]

    def _id_key(self, kind: str, text: str) -> str:
        # Lone surrogates, which JSON can bring, are no reason to fail here.
        digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
        return f"{self._prefix}{kind}:{digest}"

    def _counted(self, answer: Any) -> Usage:
        """The counts that a script returned, raised if any of them were lost."""
        sight = self._sight(answer)
        if sight.epoch is None or self._witness.misses(sight):
            sight = self._sight(self._raise(self._keys, [*self._parts, self._told()]))
        self._witness.note(sight)
        return sight.usage

    def _told(self) -> str:
        """What the script `RAISE` takes."""
        seen = self._witness.latest()
        told = {
            "epoch": seen.epoch or "",
            "next": f"{seen.job}.{uuid.uuid4().hex}",
            "base": seen.base,
            "spent": {name: (one.granted, one.returned) for name, one in seen.spent.items()},
            "totals": {field: getattr(seen.usage, field) for field in _RAISED},
            "drawn": seen.usage.drawn,
            "shards": {name: counts for name, *counts in self._witness.shards()},
        }
        return json.dumps(told)

    def _sight(self, answer: Any) -> Sight:
        epoch, totals, clients = answer
        try:
            usage = Usage(*(int(count or 0) for count in totals))
            spent: dict[str, dict[str, int]] = {}
            for name, count in zip(clients[::2], clients[1::2], strict=True):
                field, _, client = name.decode().partition(":")
                spent.setdefault(client, {})[field] = int(count)
            by_client = {client: Spent(**counts) for client, counts in spent.items()}
        except (TypeError, ValueError) as error:
            raise StoreUnavailable(self._redis.address, "its ledger holds no numbers") from error
        here = sum(one.granted - one.returned for one in by_client.values())
        text = None if epoch is None else epoch.decode("utf-8", "replace")
        return Sight(text, usage, by_client, usage.reserved - here)
