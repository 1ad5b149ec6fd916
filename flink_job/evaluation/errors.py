"""The one error of the evaluation."""


class EvaluationError(ValueError):
    """Decisions and what they are compared with do not belong together, or cannot be read.

    Parameters
    ----------
    problem
        What is wrong, a sentence with its full stop.
    action
        What the operator can do about it.
    """

    def __init__(self, problem: str, action: str) -> None:
        super().__init__(f"{problem} Operator action: {action}")
