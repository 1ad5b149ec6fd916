"""The topic that a relay feeds, and where in the stream the topic ends."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition

from flink_job.relay.jetstream import Post

_TIMEOUT_S = 15.0
_TAIL = 2_000  # records of a partition that are looked at, more than some seconds bring
_CLOSE_S = 30.0


class FeedError(RuntimeError):
    """The topic does not take what the relay has."""


@dataclass(frozen=True)
class Tail:
    """What a topic ends with.

    Parameters
    ----------
    cursor_us
        Of its latest post; None if it has none.
    ids
        Of its latest posts.
    """

    cursor_us: int | None
    ids: frozenset[str]


class Feed(Protocol):
    """Where posts go."""

    def send(self, post: Post) -> bool:
        """Take a post, to be sent when there is time; False if there is no room for it now.

        Raises
        ------
        FeedError
            If an earlier one could not be sent: what was taken since may be lost.
        """
        ...


class KafkaFeed:
    """A topic of Kafka, each post under its author's key; none lost or doubled by a retry.

    Parameters
    ----------
    properties
        Of librdkafka, on top of ours.
    """

    def __init__(self, bootstrap: str, topic: str, properties: Mapping[str, str]) -> None:
        self._topic = topic
        self._settings = {"bootstrap.servers": bootstrap, **properties}
        self._producer = Producer({**self._settings, "enable.idempotence": True, "linger.ms": 20})
        self._error: str | None = None

    def send(self, post: Post) -> bool:
        """See `Feed.send`."""
        self._producer.poll(0)
        self._raise()
        try:
            self._producer.produce(
                self._topic, post.content, post.author.encode(), on_delivery=self._delivered
            )
        except BufferError:
            return False
        return True

    def close(self) -> None:
        """Send what was taken.

        Raises
        ------
        FeedError
            If that fails.
        """
        left = self._producer.flush(_CLOSE_S)
        self._raise()
        if left:
            raise FeedError(f"Kafka did not take {left} posts within {_CLOSE_S:.0f} s.")

    def tail(self) -> Tail:
        """Where the topic ends, so that a relay can go on from there.

        Raises
        ------
        FeedError
            If the topic is not there, or the brokers are not.
        """
        group = {"group.id": "flink-cascade-relay", "enable.auto.commit": False}
        consumer = Consumer({**self._settings, **group, "enable.partition.eof": True})
        try:
            return self._read_tail(consumer)
        except KafkaException as error:
            raise FeedError(
                f"The topic {self._topic} can not be read: {error.args[0].str()}. "
                "Operator action: check the brokers' address and who may do what."
            ) from error
        finally:
            consumer.close()

    def _read_tail(self, consumer: Consumer) -> Tail:
        known = consumer.list_topics(self._topic, _TIMEOUT_S).topics[self._topic]
        if known.error is not None or not known.partitions:
            raise FeedError(
                f"There is no topic {self._topic}. Operator action: create it, with as many "
                "partitions as the job is ever to have subtasks."
            )
        places = []
        for number in known.partitions:
            first, end = consumer.get_watermark_offsets(
                TopicPartition(self._topic, number), _TIMEOUT_S
            )
            places.append(TopicPartition(self._topic, number, max(first, end - _TAIL)))
        consumer.assign(places)
        posts: list[tuple[int, str]] = []
        left = len(places)
        while left:
            message = consumer.poll(_TIMEOUT_S)
            if message is None:
                raise FeedError(f"The topic {self._topic} does not answer.")
            error = message.error()
            if error is None:
                posts += _known(message)
            elif error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001  # its public name
                left -= 1
            else:
                raise KafkaException(error)
        cursor = max((time_us for time_us, _ in posts), default=None)
        return Tail(cursor, frozenset(identity for _, identity in posts))

    def _delivered(self, error: KafkaError | None, message: Message) -> None:
        if error is not None:
            self._error = error.str()

    def _raise(self) -> None:
        if self._error is not None:
            raise FeedError(
                f"Kafka did not take a post: {self._error}. Operator action: mend the topic "
                f"{self._topic} and start the relay again; it goes on from what is in the topic."
            )


def _known(message: Message) -> list[tuple[int, str]]:
    """Time and id of a record, if a relay wrote it."""
    try:
        told = json.loads(message.value() or b"")
        return [(int(told["time_us"]), str(told["id"]))]
    except (ValueError, TypeError, KeyError):
        return []
