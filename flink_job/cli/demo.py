"""`flink-cascade demo`: the whole system on generated posts and a local LLM endpoint."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from flink_job.cli.progress import LiveProgress
from flink_job.demo import scenario
from flink_job.demo.answers import answers_from_file, answers_from_posts
from flink_job.demo.behaviour import EndpointSettings
from flink_job.demo.posts import generate, write
from flink_job.run import Stopped
from flink_job.run import run as run_job
from flink_job.settings import SettingsError, load_job

app = typer.Typer(no_args_is_help=True)
_console = Console()

Count = Annotated[int, typer.Option(min=100, max=1_000_000, help="Posts in the stream.")]
Seed = Annotated[int, typer.Option(min=0, help="Of the posts, the expert's errors and delays.")]
FailureRate = Annotated[
    float, typer.Option(min=0, max=1, help="Share of calls that the endpoint lets fail.")
]
Folder = Annotated[Path, typer.Option(help="Folder for posts, job.yaml, decisions and report.")]


@app.command()
def run(
    out: Folder = Path("out/demo"),
    count: Count = 6000,
    seed: Seed = 0,
    failure_rate: FailureRate = 0.02,
) -> None:
    """Generate posts, start the endpoint, run the Flink job on them, and report."""
    from flink_job.cli.main import explained, new_run_id, show
    from flink_job.demo.endpoint import RunningEndpoint  # a web server: no other command needs it

    with explained():
        job_file = scenario.prepare(out, count, seed)
        endpoint_settings = EndpointSettings(
            api_key=scenario.API_KEY,
            seed=seed,
            latency_ms_median=scenario.LATENCY_MS,
            failure_rate=failure_rate,
            hang_s=scenario.HANG_S,
            retry_after_s=scenario.RETRY_AFTER_S,
        )
        answers = answers_from_posts(generate(count, seed))
        with RunningEndpoint(endpoint_settings, answers) as endpoint:
            scenario.write_job(job_file, endpoint.base_url, count)
            job = load_job(job_file)
            with LiveProgress(_console, job) as progress, scenario.key_in_environment():
                outcome = run_job(
                    job, new_run_id(), progress.show, lambda: endpoint.stats()["received"]
                )
        if isinstance(outcome, Stopped):
            _console.print("stopped; run it again for the whole of it", markup=False)
            raise typer.Exit(1)
        show(outcome)


@app.command()
def posts(out: Folder = Path("posts.jsonl"), count: Count = 6000, seed: Seed = 0) -> None:
    """Write generated posts to a JSON Lines file."""
    from flink_job.cli.main import explained

    with explained():
        write(out, count, seed)
    _console.print(f"{count} posts in {out}", markup=False)


@app.command()
def endpoint(
    answers: Annotated[Path, typer.Argument(help="JSON Lines with `text` and `expert`.")],
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65_535)] = 8123,
    failure_rate: FailureRate = 0.0,
) -> None:
    """Serve an OpenAI-compatible endpoint that answers from a file, until interrupted."""
    from flink_job.cli.main import explained
    from flink_job.demo.endpoint import serve  # a web server: no other command needs it

    settings = EndpointSettings(failure_rate=failure_rate)
    with explained():
        try:
            key = answers_from_file(answers)
        except ValueError as error:  # names the line, and what belongs there
            raise SettingsError(str(error)) from error
        _console.print(f"http://{host}:{port}/v1", markup=False)
        asyncio.run(serve(settings, key, host, port))
