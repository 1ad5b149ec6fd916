"""Runs the cells that have no valid result yet, in parallel processes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path

from benchmarks.study.cells import Cell, Result, read_result, write_result
from benchmarks.study.embeddings import remembering
from benchmarks.study.running import Context, cascade_levels, fingerprint, run_cell
from benchmarks.study.sets import settings_of
from benchmarks.study.streams import chosen, items
from operators.settings import EncoderSettings


def missing(cells: Sequence[Cell], context: Context, out: Path, *, keep_stale: bool) -> list[Cell]:
    """Cells without a result, and those whose result is of other code or settings.

    Parameters
    ----------
    keep_stale
        Leave the latter as they are, though the table does not tell them apart.
    """
    due = []
    for cell in cells:
        result = read_result(cell.path(out))
        if result is None or (not keep_stale and result.fingerprint != fingerprint(cell, context)):
            due.append(cell)
    return due


def embed_all(cells: Sequence[Cell], context: Context) -> None:
    """Compute the embeddings that cells will read, so that no two processes do the same."""
    for name in dict.fromkeys(cell.set for cell in cells if cell.levels != "linear"):
        study = context.sets[name]
        everything = items(settings_of(study, {"policy": "paper"}))
        halves = {cell.half for cell in cells if cell.set == name}
        read = [item for half in sorted(halves) for item in chosen(everything, half, "source", 0)]
        texts = [item.event.text for item in read]
        for level in cascade_levels(study, context, "encoder"):
            settings = EncoderSettings.model_validate(level)
            remembering(settings, folder=context.cache, name=name).fill(texts)


def run_all(
    cells: Sequence[Cell],
    context: Context,
    out: Path,
    workers: int,
    tell: Callable[[Result], None],
) -> None:
    """Run cells and write a file for each as soon as it is done; what was done stays done.

    Raises
    ------
    ValueError
        If a cell can not be set up.
    """
    # Forked workers would inherit ONNX Runtime's threads in whatever state they are.
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        jobs = {pool.submit(run_cell, cell, context): cell for cell in cells}
        try:
            for job in as_completed(jobs):
                result = job.result()
                write_result(result.cell.path(out), result)
                tell(result)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
