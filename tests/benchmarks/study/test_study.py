"""The study from end to end, on a stream that is made up."""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from benchmarks.study import cells, pool
from benchmarks.study.__main__ import app
from benchmarks.study.cells import Cell, all_results, read_result, write_result
from benchmarks.study.methods import METHODS
from benchmarks.study.pool import missing
from benchmarks.study.running import Context, run_cell
from benchmarks.study.sets import job_set
from benchmarks.study.tables import summarise, to_csv, to_markdown
from flink_job.settings import SettingsError

WORDS = {"good": "fine nice lovely great", "bad": "awful nasty vile poor"}


def write_job(folder: Path, **changes: Any) -> Path:
    """A job over 240 short texts; the expert errs on one in twenty."""
    draw = random.Random(0)
    lines = ["id,text,label,expert"]
    for n in range(240):
        label = draw.choice(list(WORDS))
        said = label if draw.random() > 0.05 else "bad"
        text = " ".join(draw.choices([*WORDS[label].split(), "the", "a", "film"], k=6))
        lines.append(f"{n},{text},{label},{said}")
    (folder / "data.csv").write_text("\n".join(lines), encoding="utf-8")
    job = {
        "task": {"name": "films", "labels": list(WORDS), "prompt": "-", "positive": "bad"},
        "source": {"path": "data.csv", "fields": {"label": "label"}, "block": 16},
        "sink": {"path": "out"},
        "levels": [{"features": {"bits": 12, "characters": None}}],
        "expert": {"kind": "recorded", "column": "expert"},
        "budget": {"calls": 10},
    }
    path = folder / "job.yaml"
    path.write_text(yaml.safe_dump(job | changes), encoding="utf-8")
    return path


@pytest.fixture
def context(tmp_path: Path) -> Context:
    return Context({"films": job_set(write_job(tmp_path))}, [], tmp_path / "embeddings")


def cell(method: str = "budgeted", share: float = 0.25, **changes: Any) -> Cell:
    plain = {"set": "films", "half": "all", "order": "shuffled", "levels": "linear", "seed": 0}
    return Cell(**{**plain, "method": method, "share": share, **changes})


@pytest.mark.parametrize(
    "method", [name for name, method in METHODS.items() if not method.needs_encoder]
)
def test_every_method_runs_and_keeps_to_its_budget(method: str, context: Context) -> None:
    made = run_cell(cell(f"{method}:levels.0.features.bits=12"), context)
    assert made.figures.events == 240
    if METHODS[method].knob is None:
        assert 40 <= made.figures.calls <= 60
    assert made.figures.low < made.figures.agreement < made.figures.high
    assert made.figures.agreement >= made.figures.calls / 240
    assert sum(made.figures.answered) == pytest.approx(1)
    assert made.baselines.expert_accuracy > 0.9
    assert 0.4 < made.baselines.majority_agreement < 0.6


def test_a_run_can_be_repeated(context: Context) -> None:
    first, again = (run_cell(cell(), context).figures for _ in range(2))
    assert (first.calls, first.agreement, first.macro_f1) == (
        again.calls,
        again.agreement,
        again.macro_f1,
    )


def test_results_that_are_there_are_not_made_again(context: Context, tmp_path: Path) -> None:
    wanted = [cell(), cell("random")]
    write_result(wanted[0].path(tmp_path), run_cell(wanted[0], context))
    assert missing(wanted, context, tmp_path, keep_stale=False) == [wanted[1]]


def test_a_result_of_other_code_is_stale(
    context: Context, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = cell()
    write_result(wanted.path(tmp_path), run_cell(wanted, context))
    monkeypatch.setattr("benchmarks.study.running.code_fingerprint", lambda: "changed")
    assert missing([wanted], context, tmp_path, keep_stale=False) == [wanted]
    assert missing([wanted], context, tmp_path, keep_stale=True) == []


def test_a_broken_result_is_none(context: Context, tmp_path: Path) -> None:
    path = cell().path(tmp_path)
    path.parent.mkdir(parents=True)
    path.write_text("{", encoding="utf-8")
    assert read_result(path) is None
    assert missing([cell()], context, tmp_path, keep_stale=True) == [cell()]


def test_cells_that_differ_in_anything_have_files_of_their_own(tmp_path: Path) -> None:
    some = [
        cell(),
        cell("budgeted:policy.audit=0"),
        cell("budgeted:policy.audit=0.1"),
        cell(share=0.2501),
        cell(seed=1),
        cell(order="length"),
        cell(half="report"),
    ]
    assert len({made.path(tmp_path) for made in some}) == len(some)


def test_the_table_has_means_over_seeds_and_the_trivial_baselines(context: Context) -> None:
    results = [
        run_cell(cell(method, seed=s), context) for method in ("budgeted", "random") for s in (0, 1)
    ]
    rows = summarise(results)
    assert [row.method for row in rows] == ["budgeted", "random", "expert alone", "majority label"]
    budgeted, by_chance = rows[0].values["agreement"], rows[1].values["agreement"]
    assert budgeted.seeds == 2
    assert budgeted.mean == pytest.approx(
        50 * sum(r.figures.agreement for r in results if r.cell.method == "budgeted")
    )
    assert budgeted.mean > by_chance.mean
    markdown = to_markdown(rows)
    assert "| films | all, shuffled | linear | budgeted | 2 |" in markdown
    assert len(to_csv(rows).splitlines()) == 5


def test_the_command_runs_resumes_and_draws(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool, "ProcessPoolExecutor", InThisProcess)
    arguments = ["run", "--out", str(tmp_path / "study"), "--job", str(write_job(tmp_path))]
    arguments += ["--levels", "linear", "--method", "random", "--seeds", "1", "--share", "0.2"]
    first = CliRunner().invoke(app, arguments)
    assert first.exit_code == 0, first.output
    assert "1 cells, 1 to run" in first.output
    assert "1 cells, 0 to run" in CliRunner().invoke(app, arguments).output
    assert len(list(all_results(tmp_path / "study"))) == 1
    assert "random" in (tmp_path / "study" / "table.md").read_text(encoding="utf-8")
    drawn = CliRunner().invoke(app, ["figures", "--out", str(tmp_path / "study")])
    assert drawn.exit_code == 0, drawn.output
    (figure,) = (tmp_path / "study" / "figures").iterdir()
    assert figure.read_bytes().startswith(b"\x89PNG")


class InThisProcess(ThreadPoolExecutor):
    """An executor without the seconds that a fresh interpreter takes to import everything."""

    def __init__(self, workers: int, mp_context: object) -> None:
        super().__init__(workers)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"expert": {"kind": "openai", "model": "m"}}, "recorded"),
        ({"source": {"path": "data.csv"}}, r"source\.fields\.label"),
    ],
)
def test_a_job_that_can_not_be_studied_says_why(
    tmp_path: Path, changes: dict[str, Any], named: str
) -> None:
    with pytest.raises(SettingsError, match=named):
        job_set(write_job(tmp_path, **changes))


def test_the_code_fingerprint_covers_policies_and_methods() -> None:
    assert cells.code_fingerprint() == cells.code_fingerprint()
    assert len(cells.code_fingerprint()) == 16
