"""Kafka tables: the connector's options, and what goes wrong with it.

Flink's Table connector is used throughout, for it gives what the DataStream one in Python does not:
the bytes and the place of each record, keys, and work on many records that never leaves the JVM.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from pyflink.java_gateway import get_gateway
from pyflink.table import TableDescriptor

from flink_job.kafka_settings import KafkaConnection
from flink_job.settings import SettingsError

_PROVIDERS = {
    "env": "EnvVarConfigProvider",
    "file": "FileConfigProvider",
    "directory": "DirectoryConfigProvider",
}
_PROVIDER_PACKAGE = "org.apache.kafka.common.config.provider"
_SHADED = "org.apache.flink.kafka.shaded."  # in the connector's jar that holds the client too
_NO_FACTORY = "Could not find any factory for identifier 'kafka'"


def describe(connection: KafkaConnection, topics: str) -> TableDescriptor.Builder:
    """Begin a table over topics, separated by semicolons, whose clients resolve references."""
    package = _PROVIDER_PACKAGE if _is_class(_PROVIDER_PACKAGE) else _SHADED + _PROVIDER_PACKAGE
    properties = {
        "config.providers": ",".join(_PROVIDERS),
        **{f"config.providers.{k}.class": f"{package}.{v}" for k, v in _PROVIDERS.items()},
        **connection.properties,
        "bootstrap.servers": connection.bootstrap,
    }
    described = TableDescriptor.for_connector("kafka").option("topic", topics)
    for name, value in properties.items():
        described = described.option(f"properties.{name}", value)
    return described


@contextmanager
def connector_needed() -> Iterator[None]:
    """Say what to do where Flink has no Kafka connector.

    Raises
    ------
    SettingsError
        If it has none.
    """
    try:
        yield
    except Exception as error:  # py4j and PyFlink raise what they like for what Java does
        if _NO_FACTORY not in str(error):
            raise
        message = (
            "flink.jars: Flink has no Kafka connector. Operator action: download "
            "flink-connector-kafka 4.0.1-2.0 and kafka-clients 3.9.1 from Maven Central, and name "
            "both files under `flink.jars`, or put them into Flink's lib folder."
        )
        raise SettingsError(message) from error


def _is_class(package: str) -> bool:
    name = f"{package}.{_PROVIDERS['env']}"
    jvm = get_gateway().jvm
    loader = jvm.Thread.currentThread().getContextClassLoader()
    return loader.getResource(name.replace(".", "/") + ".class") is not None
