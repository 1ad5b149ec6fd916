from __future__ import annotations

import json

from operators.core.telling import tell_annotations, tell_audits
from operators.records import Annotation, Audit, Exposure, Lesson, Reason, to_json_lines

LABELS = ("ok", "abusive")
LESSON = Lesson(
    annotations=(
        Annotation("e1", "text", 1, 0, Reason.POLICY, 0.5),
        Annotation("e2", "text", 0, None, Reason.WARMUP, 1.0),
    ),
    settled=3,
    audits=(Audit("e3", "linear", 1, False, 0.25, (Exposure("linear", 0, 7),)),),
)


def test_annotations_name_the_labels() -> None:
    first, second = map(json.loads, to_json_lines(tell_annotations(LESSON, LABELS)).splitlines())
    assert first == {
        "id": "e1",
        "text": "text",
        "label": "abusive",
        "small_label": "ok",
        "reason": "policy",
        "propensity": 0.5,
    }
    assert (second["label"], second["small_label"]) == ("ok", None)


def test_audits_name_the_labels_and_what_they_stand_for() -> None:
    (told,) = map(json.loads, to_json_lines(tell_audits(LESSON, LABELS)).splitlines())
    assert told == {
        "id": "e3",
        "level": "linear",
        "label": "abusive",
        "agrees": False,
        "propensity": 0.25,
        "exposed": [{"level": "linear", "label": "ok", "accepted": 7}],
    }
