"""`flink-cascade relay`: live posts into the topic that a job reads."""

from __future__ import annotations

import asyncio
import logging
import re
import signal
from collections.abc import Coroutine
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer

from flink_job.relay.jetstream import PUBLIC_URL
from flink_job.settings import JobSettings, SettingsError, load_job
from flink_job.source_settings import KafkaSourceSettings
from operators.secrets import read_secret

_REFERENCE = re.compile(r"\$\{env:([A-Za-z_][A-Za-z0-9_]*)\}")


def relay(
    job: Annotated[Path, typer.Argument(help="The job's YAML, with a Kafka source.")],
    url: Annotated[str, typer.Option(help="A Jetstream server.")] = PUBLIC_URL,
    language: Annotated[
        list[str] | None, typer.Option(help="Posts in this language alone; may be repeated.")
    ] = None,
    client_property: Annotated[
        list[str] | None,
        typer.Option(
            help="NAME=VALUE for librdkafka, as sasl.password='${env:NAME}'; may be repeated."
        ),
    ] = None,
) -> None:
    """Feed a job's topic with the posts of Bluesky as they are written, until Ctrl-C.

    Started again, it goes on from what is in the topic.
    """
    from flink_job.cli.main import explained, say

    with explained():
        source = _source(load_job(job))
        properties = dict(_property(text) for text in client_property or ())
        try:
            from flink_job.relay.feed import FeedError, KafkaFeed
            from flink_job.relay.relaying import Relay
        except ImportError as error:
            message = (
                f"The relay needs {error.name}. Operator action: "
                "pip install 'flink-online-cascade[kafka]'."
            )
            raise SettingsError(message) from error
        logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(message)s")
        try:
            feed = KafkaFeed(source.bootstrap, source.topics[0], properties)
            running = Relay(url, feed, feed.tail(), languages=language or ())
            try:
                asyncio.run(_until_stopped(running.run()))
            finally:
                feed.close()
        except FeedError as error:
            raise SettingsError(str(error)) from error
    counts = running.counts
    say(f"{counts.posts} posts, {counts.repeated} repeated, {counts.connections} connections")


async def _until_stopped(running: Coroutine[None, None, None]) -> None:
    """Run until Ctrl-C or SIGTERM."""
    task = asyncio.ensure_future(running)
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    with suppress(asyncio.CancelledError):
        await task


def _source(job: JobSettings) -> KafkaSourceSettings:
    if isinstance(job.source, KafkaSourceSettings):
        return job.source
    message = "source.kind: a relay feeds a topic. Operator action: use `kind: kafka`."
    raise SettingsError(message)


def _property(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not name or not equals:
        message = f"--client-property: {text!r} is no NAME=VALUE"
        raise SettingsError(message)
    return name, _REFERENCE.sub(_secret, value)


def _secret(found: re.Match[str]) -> str:
    try:
        value = read_secret(found[1])
    except ValueError as error:
        raise SettingsError(f"--client-property: {error}") from error
    if value is None:
        message = f"--client-property: the environment variable {found[1]} is not set"
        raise SettingsError(message)
    return value
