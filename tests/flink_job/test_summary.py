import io

from rich.console import Console

from flink_job.evaluation import Evaluation, Reference, evaluate
from flink_job.summary import summary_table
from operators.records import Decision, Reason
from operators.settings import TaskSettings


def evaluation(
    references: list[Reference],
    decided: list[str],
    level: str = "linear",
    positive: str | None = "yes",
) -> Evaluation:
    return evaluate(
        references,
        [
            Decision(
                name,
                "k",
                "t",
                "",
                "yes",
                (0.0, 1.0),
                level,
                None,
                Reason.ACCEPTED,
                0.0,
                degraded=True,
            )
            for name in decided
        ],
        TaskSettings(name="t", labels=("no", "yes"), prompt="p", positive=positive),
        (level, "expert"),
        calls=1,
        events_in=len(references),
        dead_letters=4,
        wall_s=1.0,
    )


def show(shown: Evaluation, *, colour: bool = False) -> str:
    console = Console(
        file=io.StringIO(),
        width=100,
        force_terminal=colour,
        color_system="standard" if colour else None,
        legacy_windows=False,
    )
    console.print(summary_table(shown))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def rows(shown: Evaluation) -> dict[str, str]:
    lines = [line.strip("│ ").split("   ", 1) for line in show(shown).splitlines()[1:-1]]
    return {name.strip(): value.strip() for name, value in lines}


def test_headline_numbers() -> None:
    references = [Reference("a", "yes", "yes"), Reference("b", "no", "yes")]
    assert rows(evaluation(references, ["a", "b"])) == {
        "events": "2",
        "answered by linear": "100.0 %   2",
        "answered by expert": "0.0 %   0",
        "LLM calls": "1 for 2 events (50.0 %)",
        "agreement with the expert": "100.0 % (34.2 to 100.0)",
        "the same of accepted answers, by audits": "n/a",
        "accuracy": "50.0 % (9.5 to 90.5)",
        "F1 of yes": "0.667",
        "accuracy of the majority label": "50.0 % (9.5 to 90.5)",
        "dead letters": "4",
        "degraded answers": "2",
        "exactly one decision each": "yes",
    }


def test_without_a_positive_label_the_f1_is_the_mean() -> None:
    references = [Reference("a", "yes"), Reference("b", "no")]
    assert rows(evaluation(references, ["a", "b"], positive=None))["macro-F1"] == "0.333"


def test_what_is_not_known_is_said() -> None:
    shown = rows(evaluation([Reference("a")], ["a"]))
    assert {shown[name] for name in ("agreement with the expert", "accuracy", "macro-F1")} == {
        "n/a"
    }


def test_lost_events_are_red_and_none_lost_is_green() -> None:
    red, green = "\x1b[1;31m", "\x1b[1;32m"
    good = show(evaluation([Reference("a")], ["a"]), colour=True)
    bad = show(evaluation([Reference("a"), Reference("b")], ["a", "a"]), colour=True)
    assert green in good
    assert red not in good
    assert red in bad
    assert green not in bad
    assert "1 missing, 1 doubled, 0 unknown" in bad


def test_markup_in_names_is_text() -> None:
    assert "answered by [bold]x[/nonsense]" in rows(
        evaluation([Reference("a")], ["a"], level="[bold]x[/nonsense]")
    )


def test_nothing_at_all() -> None:
    assert rows(evaluation([], []))["events"] == "0"
