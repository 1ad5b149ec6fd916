"""Redis and the expert: asked for real, as the job would."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from flink_job.doctor.diagnosis import Diagnosis, bad, ok, warning
from flink_job.settings import JobSettings, SettingsError
from model_store.errors import StoreError
from model_store.redis_health import RedisHealth, examine
from operators.expert.port import ExpertError
from operators.records import Event
from operators.settings import OpenAIExpertSettings

if TYPE_CHECKING:
    from operators.expert.openai_expert import OpenAIExpert

_OLDEST_REDIS = (6, 2)
_SLOW_MS = 20.0
_QUESTION = "This is a test of the connection."
_FIXES = {
    "http_401": "the key is refused: check the variable that expert.api_key_env names",
    "http_403": "the key may not use this model: check it with the provider",
    "http_404": "check expert.base_url (it ends in /v1 as a rule) and expert.model",
    "http_400": "a setting is refused: try `temperature: null`, and check expert.model",
    "connection": "check expert.base_url, DNS, firewalls and proxies from this machine",
    "timeout": "raise expert.timeout_s, or take a faster model",
    "rate_limit": "lower expert.concurrency, or have the provider raise the limit",
    "server_error": "try again later; the job would retry",
    "nonsense": "the model does not answer with a label: make task.prompt plainer, raise "
    "expert.max_tokens, or take another model",
    "malformed": "no chat completions endpoint answers there: check expert.base_url",
}


def redis(job: JobSettings) -> list[Diagnosis]:
    """Whether the store is there, and whether it keeps what it is given."""
    if job.store.kind == "embedded":
        return [ok("redis", "embedded: started with each run")]
    try:
        health = examine(job.store.resolve(), time.monotonic)
    except (SettingsError, StoreError) as error:
        problem, _, action = str(error).partition(" Operator action: ")
        return [bad("redis", problem, action)]
    return [_reached(health), *_keeping(health)]


def _reached(health: RedisHealth) -> Diagnosis:
    detail = f"{health.address}, {health.version or 'version unknown'}, {health.latency_ms:.1f} ms"
    if health.role not in (None, "master"):
        return bad("redis", f"{detail}, a {health.role}", "give the URL of the master")
    if health.version and _numbers(health.version) < _OLDEST_REDIS:
        return bad("redis", detail, "install Redis 6.2 or newer")
    if health.latency_ms > _SLOW_MS:
        return warning("redis", detail, "move it nearer: the job asks it once for every chunk")
    return ok("redis", detail)


def _keeping(health: RedisHealth) -> list[Diagnosis]:
    if health.eviction is None:
        fix = "see to `maxmemory-policy noeviction` and to persistence, which are not to be seen"
        return [warning("redis keeps", "this user may not ask INFO and CONFIG", fix)]
    found = []
    if health.eviction != "noeviction":
        fix = (
            "set `maxmemory-policy noeviction`: what is evicted is a release or the budget's count"
        )
        found.append(bad("redis keeps", f"maxmemory-policy is {health.eviction}", fix))
    if not health.persistent:
        fix = "set `appendonly yes`: a restart would lose the releases and what was spent"
        found.append(warning("redis keeps", "nothing is written to disk", fix))
    return found or [ok("redis keeps", "evicts nothing, and writes to disk")]


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".") if part.isdigit())


def expert(job: JobSettings) -> list[Diagnosis]:
    """Whether the expert answers with a label; makes two calls."""
    if not isinstance(job.expert, OpenAIExpertSettings):
        return [ok("expert", "recorded answers: nothing is asked")]
    # Its client takes longer to import than a short replay to run.
    from operators.expert.openai_expert import OpenAIExpert, api_key

    try:
        key = api_key(job.expert)
    except ValueError as error:
        problem, _, action = str(error).partition(" Operator action: ")
        return [bad("expert", problem, action)]
    return asyncio.run(_ask(job, job.expert, OpenAIExpert(job.expert, job.task, key)))


async def _ask(
    job: JobSettings, chosen: OpenAIExpertSettings, asked: OpenAIExpert
) -> list[Diagnosis]:
    event = Event(id="doctor", key="doctor", text=_QUESTION, task=job.task.name)
    where = f"{chosen.model} at {chosen.base_url}"
    try:
        started = time.monotonic()
        try:
            reply = await asked.ask(event)
        except ExpertError as error:
            fix = _FIXES.get(error.kind, "see what the provider says about this status")
            return [bad("expert", f"{where}: {error.kind}", fix)]
        took_ms = 1000 * (time.monotonic() - started)
        detail = f"{where}: {reply.label!r} in {took_ms:.0f} ms, {reply.tokens_in} tokens in"
        return [ok("expert", detail), await _log_probabilities(asked, event)]
    finally:
        await asked.close()


async def _log_probabilities(asked: OpenAIExpert, event: Event) -> Diagnosis:
    what, fix = "log-probabilities", "none needed: the job does not ask for them"
    try:
        given = await asked.gives_log_probabilities(event)
    except ExpertError as error:
        return warning(what, f"refused: {error.kind}", fix)
    return ok(what, "given") if given else warning(what, "not given", fix)
