"""Which label counts as the positive one: what people hope for, or fear."""

from collections.abc import Sequence

from fedloom.shared.errors import EvaluationError


def positive_label(wanted: str | None, labels: Sequence[str]) -> int:
    """The class number of a label; the last without one. With more than two labels, measures of
    selection are of this one against the rest.

    Raises:
        EvaluationError: there is no such label.
    """
    if wanted is None:
        return len(labels) - 1
    if wanted not in labels:
        raise EvaluationError(
            f"positive: {wanted} is none of the labels, expected one of {', '.join(labels)}"
        )
    return labels.index(wanted)
