"""A broker that speaks Kafka's protocol, and clients for both ends of a job."""

from __future__ import annotations

import importlib.util
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Self

from confluent_kafka import Consumer, KafkaError, Message, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from model_store.loopback import HOST, free_port
from tests import connector

_PATIENCE_S = 60.0
JARS = [Path(sys.prefix) / "jars" / name for name in connector.JARS]
"""Where `make` puts the connector."""


class Broker:
    """A broker of its own, with a fresh folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._port = free_port()
        self.bootstrap = f"{HOST}:{self._port}"

    def __enter__(self) -> Self:
        package = importlib.util.find_spec("noida_db")
        assert package is not None, "pip install noida-db"
        # Not by its script, which would leave it behind.
        program = Path(package.origin or "").with_name("noida-db")
        options = ["--only", "kafka", "--kafka-port", str(self._port)]
        self._process = subprocess.Popen(  # noqa: S603  # a server of the venv
            [str(program), "start", *options, "--data-dir", str(self._folder)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        wait_for(self._listens)
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait()

    def _listens(self) -> bool:
        try:
            socket.create_connection((HOST, self._port), 1).close()
        except OSError:
            return False
        return True

    def create(self, partitions: int, *topics: str) -> None:
        admin = AdminClient({"bootstrap.servers": self.bootstrap})
        for made in admin.create_topics([NewTopic(t, partitions, 1) for t in topics]).values():
            made.result(_PATIENCE_S)

    def send(self, topic: str, records: Iterable[tuple[str | None, bytes | None]]) -> None:
        """Send (key, value) pairs."""
        producer = Producer({"bootstrap.servers": self.bootstrap})
        for key, value in records:
            producer.produce(topic, value, key)
        assert producer.flush(_PATIENCE_S) == 0

    def offsets(self, group: str, topic: str, partitions: int) -> list[int]:
        """Where a group is."""
        consumer = Consumer({"bootstrap.servers": self.bootstrap, "group.id": group})
        asked = [TopicPartition(topic, i) for i in range(partitions)]
        found = [place.offset for place in consumer.committed(asked, timeout=_PATIENCE_S)]
        consumer.close()
        return found

    def read(self, topic: str, partitions: int) -> list[Message]:
        """All committed records of a topic."""
        consumer = Consumer(
            {
                "bootstrap.servers": self.bootstrap,
                "group.id": "reader",
                "isolation.level": "read_committed",
                "enable.partition.eof": True,
            }
        )
        consumer.assign([TopicPartition(topic, i, 0) for i in range(partitions)])
        found: list[Message] = []
        ended: set[int | None] = set()
        deadline = time.monotonic() + _PATIENCE_S
        while len(ended) < partitions:
            assert time.monotonic() < deadline, f"{topic} does not end"
            message = consumer.poll(0.2)
            if message is None:
                continue
            error = message.error()
            if error is None:
                found.append(message)
            else:
                assert error.code() == KafkaError._PARTITION_EOF, error
                ended.add(message.partition())
        consumer.close()
        return found


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)
