"""Command line of the study."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from benchmarks.study.cells import Cell, Result, all_results
from benchmarks.study.drawing import draw
from benchmarks.study.methods import METHODS, parse_method
from benchmarks.study.pool import embed_all, missing, run_all
from benchmarks.study.running import Context
from benchmarks.study.sets import StudySet, job_set, paper_sets
from benchmarks.study.streams import Half, Order
from benchmarks.study.tables import summarise, to_csv, to_markdown

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
console = Console()
Out = Annotated[Path, typer.Option(help="Folder of the study.", file_okay=False)]


@app.command()
def run(
    out: Out,
    data: Annotated[Path | None, typer.Option(help="Folder of the paper's data sets.")] = None,
    job: Annotated[list[Path] | None, typer.Option(help="YAML of a job to study.")] = None,
    model: Annotated[
        list[Path] | None, typer.Option(help="Folder of an encoder's base model, cheapest first.")
    ] = None,
    chosen_set: Annotated[list[str] | None, typer.Option("--set", help="Data sets.")] = None,
    method: Annotated[list[str] | None, typer.Option(help="NAME or NAME:path=value,...")] = None,
    share: Annotated[list[float] | None, typer.Option(help="Calls an event.")] = None,
    levels: Annotated[str, typer.Option(help="linear, encoder (all of them) or both.")] = "both",
    half: Annotated[Half, typer.Option()] = "development",
    order: Annotated[Order, typer.Option()] = "shuffled",
    seeds: Annotated[int, typer.Option(min=1)] = 4,
    workers: Annotated[int, typer.Option(min=1)] = 1,
    keep_stale: Annotated[bool, typer.Option(help="Keep results of other code.")] = False,
) -> None:
    """Run what is not there yet: data sets x methods x budgets x seeds."""
    sets = _sets(data, job or [])
    unknown = set(chosen_set or []) - set(sets)
    if unknown or not sets:
        raise typer.BadParameter(f"no data set {', '.join(unknown)}; there are {', '.join(sets)}")
    context = Context(sets, [str(folder.resolve()) for folder in model or []], out / "embeddings")
    cells = []
    for text in method or []:
        try:
            parse_method(text)
        except ValueError as error:
            raise typer.BadParameter(str(error), param_hint="--method") from error
    for name, text in product(chosen_set or list(sets), method or list(METHODS)):
        if parse_method(text).needs_encoder and levels == "linear":
            continue
        for budget, seed in product(share or sets[name].shares, range(seeds)):
            cells.append(Cell(name, half, order, levels, text, round(budget, 4), seed))
    due = missing(cells, context, out, keep_stale=keep_stale)
    console.print(f"{len(cells)} cells, {len(due)} to run")
    if due:
        embed_all(due, context)
        run_all(due, context, out, workers, _tell)
    table(out)


def _sets(data: Path | None, jobs: list[Path]) -> dict[str, StudySet]:
    sets = {} if data is None else paper_sets(data.resolve())
    return sets | {made.name: made for made in map(job_set, jobs)}


def _tell(result: Result) -> None:
    cell, made = result.cell, result.figures
    console.print(
        f"{cell.set} {cell.method} {cell.share:.3f} seed {cell.seed}: {made.calls} calls, "
        f"agreement {100 * made.agreement:.1f}, accuracy {100 * made.accuracy:.1f}, "
        f"macro-F1 {100 * made.macro_f1:.1f}",
        highlight=False,
        soft_wrap=True,
    )


@app.command()
def table(out: Out) -> None:
    """Write table.csv and table.md of all results there are."""
    rows = summarise(list(all_results(out)))
    (out / "table.csv").write_text(to_csv(rows), encoding="utf-8")
    (out / "table.md").write_text(to_markdown(rows), encoding="utf-8")


@app.command()
def figures(out: Out) -> None:
    """Draw quality against calls, a file for each data set, half, order and cascade."""
    for path in draw(summarise(list(all_results(out))), out / "figures"):
        console.print(str(path))


if __name__ == "__main__":
    app()
