"""What a finished run is worth: was every event answered once, by whom, how well, for how much."""

from flink_job.evaluation.errors import EvaluationError
from flink_job.evaluation.evaluating import evaluate
from flink_job.evaluation.joining import Reference
from flink_job.evaluation.reading import read_decisions
from flink_job.evaluation.results import Evaluation, to_json

__all__ = [
    "Evaluation",
    "EvaluationError",
    "Reference",
    "evaluate",
    "read_decisions",
    "to_json",
]
