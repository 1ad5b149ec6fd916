"""How every part of the store talks to Redis: timeouts, bounded retries, one error, no secrets."""

from collections.abc import Callable
from typing import Any, Final
from urllib.parse import urlsplit

import redis
from redis.backoff import ExponentialBackoff, NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError
from redis.exceptions import TimeoutError as RedisTimeoutError
from redis.retry import Retry

from model_store.errors import StoreMisconfigured, StoreUnavailable
from model_store.names import NAME_RULE, is_name

# All may be overridden in the URL, as in rediss://host/0?socket_timeout=20.
SOCKET_TIMEOUT_S: Final = 5.0
CONNECT_TIMEOUT_S: Final = 2.0
# Shorter than the idle timeouts of common load balancers and firewalls.
HEALTH_CHECK_INTERVAL_S: Final = 30
DEFAULT_RETRIES: Final = 2
_BACKOFF_BASE_S: Final = 0.05
_BACKOFF_CAP_S: Final = 0.5


class RedisConnection:
    """A thread-safe client for one URL. Connects on first use.

    Parameters
    ----------
    url
        ``redis://``, ``rediss://`` (TLS) or ``unix://``, with user, password and options in it as
        `redis.Redis.from_url` reads them. The server's certificate has to be valid for the host,
        unless ``ssl_check_hostname=false`` says otherwise.
    retries
        How often a command is repeated after a lost connection or a timeout. Every command that
        goes through here may therefore run twice.

    Raises
    ------
    StoreMisconfigured
        When the URL can never work.
    """

    def __init__(self, url: str, *, retries: int = DEFAULT_RETRIES) -> None:
        self.address = safe_address(url)
        backoff = ExponentialBackoff(cap=_BACKOFF_CAP_S, base=_BACKOFF_BASE_S)
        retryable = [RedisConnectionError, RedisTimeoutError] if retries else []
        try:
            self._client = redis.Redis.from_url(
                url,
                socket_timeout=SOCKET_TIMEOUT_S,
                socket_connect_timeout=CONNECT_TIMEOUT_S,
                health_check_interval=HEALTH_CHECK_INTERVAL_S,
                retry=Retry(backoff if retries else NoBackoff(), retries),
                retry_on_error=retryable,
                redis_connect_func=_handshake,
            )
            pool = self._client.connection_pool
            # Blobs are bytes, whatever the URL asks for.
            pool.connection_kwargs["decode_responses"] = False
            if pool.connection_class is redis.SSLConnection:
                # redis-py 5 takes any certificate that the authority has signed, whoever holds it.
                trusting = pool.connection_kwargs.get("ssl_cert_reqs") == "none"
                pool.connection_kwargs.setdefault("ssl_check_hostname", not trusting)
            # Otherwise an unknown option shows up as a TypeError in the middle of the stream.
            pool.connection_class(**pool.connection_kwargs)
        except (TypeError, ValueError, RedisError) as error:
            # Not chained, nor its text shown: urllib quotes what it cannot parse, password and all.
            raise StoreMisconfigured(
                f"The URL of Redis ({self.address}) cannot be used ({type(error).__name__}).",
                "give redis://, rediss:// or unix://, percent-encode special characters in the "
                "password, and use only options that redis-py knows.",
            ) from None

    def call(self, operation: Callable[[Any], Any]) -> Any:
        """Return what `operation` returns when it is handed the `redis.Redis`.

        Untyped on purpose: redis-py types each answer as if it might also be awaitable.

        Raises
        ------
        StoreUnavailable
            On whatever redis raises.
        """
        try:
            return operation(self._client)
        except RedisError as error:
            raise self._unavailable(error) from error

    def script(self, source: str) -> Callable[[list[str], list[str | bytes | int]], Any]:
        """Return a Lua script as a function of its KEYS and ARGV; raises as `call` does."""
        script = self._client.register_script(source)
        return lambda keys, args: self.call(lambda _: script(keys=keys, args=args))

    def subscribe(self, channel: str) -> "RedisSubscription":
        """Return hints from a channel, from now on; raises as `call` does."""
        return RedisSubscription(self, channel)

    def close(self) -> None:
        """Close the idle connections; the next call opens one again."""
        self._client.close()
        self._client.connection_pool.disconnect()

    def _unavailable(self, error: RedisError) -> StoreUnavailable:
        return StoreUnavailable(self.address, f"{type(error).__name__}: {error}")


class RedisSubscription:
    """Hints from a pub/sub channel, read without blocking; see ``port.Subscription``.

    Parameters
    ----------
    connection
        To be used by this subscription alone and built with ``retries=0``: a hint is not worth
        waiting for.
    channel
        Its name.
    """

    def __init__(self, connection: RedisConnection, channel: str) -> None:
        self._connection = connection
        self._pubsub = connection.call(lambda client: client.pubsub(ignore_subscribe_messages=True))
        connection.call(lambda _: self._pubsub.subscribe(channel))

    def changed(self) -> bool:
        """Say whether a message came since the last call; raises as `RedisConnection.call`."""
        changed = False
        while self._connection.call(lambda _: self._pubsub.get_message(timeout=0)) is not None:
            changed = True
        return changed

    def close(self) -> None:
        """End the subscription."""
        self._pubsub.close()
        self._connection.close()


def _handshake(connection: Any) -> None:
    # redis-py 5.3 checks the health of a connection before each command of its own handshake. On
    # a server that wants a password and a URL that has none, the two call each other without end,
    # and a RecursionError is no RedisError.
    interval, connection.health_check_interval = connection.health_check_interval, 0
    try:
        connection.on_connect()
    finally:
        connection.health_check_interval = interval


def key_prefix(namespace: str, task: str) -> str:
    """Return what every key of a task begins with.

    The braces make the keys of a task one slot of a Redis cluster, as its scripts need.

    Raises
    ------
    StoreMisconfigured
        When either is no plain name.
    """
    check_name("namespace", namespace)
    check_name("task", task)
    return f"{{{namespace}:{task}}}:"


def check_name(kind: str, name: str) -> None:
    """Raise `StoreMisconfigured` unless `name`, of the given kind, is a plain name."""
    if not is_name(name):
        raise StoreMisconfigured(f"The {kind} {name!r} is no name.", f"use {NAME_RULE}.")


def safe_address(url: str) -> str:
    """Return scheme, host, port or socket path of a Redis URL, never user, password or options."""
    unreadable = "an address that cannot be read"
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        return unreadable
    if "@" in parts.path + parts.query + parts.fragment:
        # An unescaped '/', '?' or '#' in the password ends the host part early.
        return unreadable
    if parts.scheme == "unix":
        return f"unix://{parts.path}"
    if parts.scheme not in ("redis", "rediss"):
        return unreadable
    return f"{parts.scheme}://{host or 'localhost'}" + (f":{port}" if port else "")
