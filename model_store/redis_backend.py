"""The backend on Redis: a few keys for each task, moved by scripts that run as one step."""

from collections.abc import Collection
from typing import Final

from model_store.errors import HeadConflict
from model_store.names import is_name
from model_store.port import Publication, Subscription
from model_store.redis_connection import RedisConnection, check_name, key_prefix

# PUBLISH comes last and through pcall: scripts are not rolled back, and an ACL that forbids the
# channel must cost the hint only.
_PUBLISH: Final = """
local head, kind, manifests, hashes, blobs = unpack(KEYS)
local expected, release, sequence, manifest, named, keep, rejected = unpack(ARGV)
local actual = redis.call('GET', head) or ''
if actual == release then return {'done'} end
if rejected == '1' and redis.call('HEXISTS', manifests, release) == 1 then return {'done'} end
if actual ~= expected then return {'conflict', actual} end
local missing = {'missing'}
for sha256 in string.gmatch(named, '%x+') do
  if redis.call('HEXISTS', blobs, sha256) == 0 then missing[#missing + 1] = sha256 end
end
if #missing > 1 then return missing end

redis.call('ZADD', kind, sequence, release)
redis.call('HSET', manifests, release, manifest)
redis.call('HSET', hashes, release, named)
if rejected == '0' then
  redis.call('SET', head, release)
  actual = release
end

for _, old in ipairs(redis.call('ZREVRANGE', kind, keep, -1)) do
  if old ~= release and old ~= actual then
    redis.call('ZREM', kind, old)
    redis.call('HDEL', manifests, old)
    redis.call('HDEL', hashes, old)
  end
end
local used = {}
for _, list in ipairs(redis.call('HVALS', hashes)) do
  for sha256 in string.gmatch(list, '%x+') do used[sha256] = true end
end
for _, sha256 in ipairs(redis.call('HKEYS', blobs)) do
  if not used[sha256] then redis.call('HDEL', blobs, sha256) end
end
if rejected == '0' then redis.pcall('PUBLISH', head, release) end
return {'done'}
"""

_MOVE_HEAD: Final = """
local head, manifests = unpack(KEYS)
if redis.call('HEXISTS', manifests, ARGV[1]) == 0 then return 0 end
redis.call('SET', head, ARGV[1])
redis.pcall('PUBLISH', head, ARGV[1])
return 1
"""


class RedisBackend:
    """A `Backend` on one Redis server, safe for threads.

    Parameters
    ----------
    url
        As `RedisConnection` takes it.
    namespace
        Sets jobs on one Redis apart; a plain name.

    Notes
    -----
    An ACL user needs what is in ``docker/redis/rules.acl`` and no more. The keys:
    ``{namespace:task}:head`` (a string, and the channel of the hints), ``:sequence`` (a counter),
    ``:releases`` and ``:rejected`` (ids by sequence), ``:manifests``, ``:hashes`` and ``:blobs``
    (fields by id, id and sha256), and ``{namespace}:tasks`` (a set). Nothing expires: the server
    must not evict.
    """

    def __init__(self, url: str, namespace: str) -> None:
        check_name("namespace", namespace)
        self._url = url
        self._namespace = namespace
        self._redis = RedisConnection(url)
        self._publish = self._redis.script(_PUBLISH)
        self._move_head = self._redis.script(_MOVE_HEAD)

    def tasks(self) -> list[str]:
        """See `Backend.tasks`."""
        members = self._redis.call(lambda client: client.smembers(self._tasks_key))
        tasks = sorted(_text(member) for member in members)
        return [task for task in tasks if is_name(task) and self.head(task) is not None]

    def head(self, task: str) -> str | None:
        """See `Backend.head`."""
        key = self._key(task, "head")
        head = self._redis.call(lambda client: client.get(key))
        return None if head is None else _text(head)

    def next_sequence(self, task: str) -> int:
        """See `Backend.next_sequence`."""
        key = self._key(task, "sequence")
        return int(self._redis.call(lambda client: client.incr(key)))

    def manifest(self, task: str, release: str) -> bytes | None:
        """See `Backend.manifest`."""
        return self._field(self._key(task, "manifests"), release)

    def manifests(self, task: str) -> dict[str, bytes]:
        """See `Backend.manifests`."""
        key = self._key(task, "manifests")
        found: dict[bytes, bytes] = self._redis.call(lambda client: client.hgetall(key))
        return {_text(release): manifest for release, manifest in found.items()}

    def blob_sizes(self, task: str, hashes: Collection[str]) -> dict[str, int]:
        """See `Backend.blob_sizes`."""
        names = list(hashes)
        pipeline = self._redis.call(lambda client: client.pipeline(transaction=False))
        for sha256 in names:
            pipeline.hstrlen(self._key(task, "blobs"), sha256)
        sizes: list[int] = self._redis.call(lambda _: pipeline.execute())
        # 0 is Redis for a field that is not there; no blob is empty.
        return {sha256: size for sha256, size in zip(names, sizes, strict=True) if size}

    def get_blob(self, task: str, sha256: str) -> bytes | None:
        """See `Backend.get_blob`."""
        return self._field(self._key(task, "blobs"), sha256)

    def put_blob(self, task: str, sha256: str, blob: bytes) -> None:
        """See `Backend.put_blob`."""
        key = self._key(task, "blobs")
        self._redis.call(lambda client: client.hset(key, sha256, blob))

    def publish(self, publication: Publication) -> frozenset[str]:
        """See `Backend.publish`."""
        task = publication.task
        # In another slot than the keys of the task, hence not in the script. Too early is
        # harmless: `tasks` leaves out what has no head.
        self._redis.call(lambda client: client.sadd(self._tasks_key, task))
        kind = "rejected" if publication.rejected else "releases"
        outcome, *facts = self._publish(
            [self._key(task, key) for key in ("head", kind, "manifests", "hashes", "blobs")],
            [
                publication.expected_head or "",
                publication.release,
                publication.sequence,
                publication.manifest,
                " ".join(sorted(publication.hashes)),
                publication.keep,
                int(publication.rejected),
            ],
        )
        if outcome == b"conflict":
            actual = _text(facts[0]) or None
            raise HeadConflict(task, publication.expected_head, actual)
        return frozenset(map(_text, facts))

    def move_head(self, task: str, release: str) -> bool:
        """See `Backend.move_head`."""
        keys = [self._key(task, "head"), self._key(task, "manifests")]
        return bool(self._move_head(keys, [release]))

    def subscribe(self, task: str) -> Subscription:
        """See `Backend.subscribe`."""
        return RedisConnection(self._url, retries=0).subscribe(self._key(task, "head"))

    def close(self) -> None:
        """Close the idle connections."""
        self._redis.close()

    @property
    def _tasks_key(self) -> str:
        return f"{{{self._namespace}}}:tasks"

    def _key(self, task: str, kind: str) -> str:
        return key_prefix(self._namespace, task) + kind

    def _field(self, key: str, field: str) -> bytes | None:
        value: bytes | None = self._redis.call(lambda client: client.hget(key, field))
        return value


def _text(data: bytes) -> str:
    # What is not text is no name either: the checks of names turn the replacement away.
    return data.decode("utf-8", "replace")
