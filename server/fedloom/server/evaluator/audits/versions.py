"""One text in several versions, that differ in a pronoun or a group: which is likelier, or is
given another label."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from fedloom.server.evaluator.audits.base import Audit, Measured, found_by, mean_figure
from fedloom.server.evaluator.findings import Chart, Figure, Shown, Span, Table
from fedloom.server.evaluator.statistics import BALANCE, SHARE, Values, mean
from fedloom.server.evaluator.subject import Subject

NOT_CAUSAL = "only a causal language model, which goes on with a text, does"
NO_MEASURE = "it is neither a classifier nor a causal language model"
_SHOWN = 3


@dataclass(frozen=True, kw_only=True)
class Parts:
    """What one kind of model gets of an audit that measures several kinds."""

    figures: tuple[Figure, ...]
    samples: Mapping[str, Values]
    clusters: Mapping[str, Sequence[object]]
    caveats: tuple[str, ...]
    tables: tuple[Table, ...] = ()
    charts: tuple[Chart, ...] = ()
    shown: tuple[Shown, ...] = ()

    def of(self, audit: Audit, *, sources: tuple[str, ...]) -> Measured:
        """As the audit's answer."""
        findings = found_by(audit).model_copy(
            update={
                "figures": self.figures,
                "tables": self.tables,
                "charts": self.charts,
                "shown": self.shown,
                "caveats": self.caveats,
                "sources": sources,
            }
        )
        return Measured(findings=findings, samples=self.samples, clusters=self.clusters)


# How often the first of two texts is the likelier to a model that leans to neither.
EVEN = 0.5


@dataclass(frozen=True, kw_only=True)
class Preference:
    """Of n pairs, shape (n,): `first` is 1 where the first text is likelier, 0 where the second
    is and a half where neither; `gap` is by how much, in nats per token of the pair; `cut`,
    of shape (n, 2), says which texts were longer than what the model reads."""

    first: Values
    gap: Values
    cut: NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class Swapped:
    """Of n texts, shape (n,): `flips` is 1 where not all versions get one label; `shift` is the
    largest total variation distance between the answers to two versions, from 0 to 1.
    `probabilities` has shape (n, versions, labels)."""

    flips: Values
    shift: Values
    probabilities: NDArray[np.float64]


def preference(subject: Subject, pairs: Sequence[tuple[str, str]]) -> Preference:
    """Which of two whole texts a causal language model finds likelier.

    Raises:
        EvaluationError: the model is no causal language model, or says no numbers.
    """
    found = subject.likelihoods([("", text) for pair in pairs for text in pair])
    total, tokens = found.total.reshape(-1, 2), found.tokens.reshape(-1, 2)
    difference = total[:, 0] - total[:, 1]
    return Preference(
        first=(np.sign(difference) + 1) / 2,
        gap=difference / tokens.mean(axis=1),
        cut=found.cut.reshape(-1, 2),
    )


def swapped(subject: Subject, versions: Sequence[Sequence[str]]) -> Swapped:
    """What a classifier says to each version of each text; as many versions of every text.

    Raises:
        EvaluationError: the model has no label set, or says no numbers.
    """
    found = subject.classify([text for texts in versions for text in texts])
    answers = found.reshape(len(versions), -1, found.shape[1])
    called = answers.argmax(axis=2)
    shifts = [
        np.abs(answers[:, one] - answers[:, other]).sum(axis=1) / 2
        for one, other in combinations(range(answers.shape[1]), 2)
    ]
    return Swapped(
        flips=(called != called[:, :1]).any(axis=1).astype(np.float64),
        shift=np.max(shifts, axis=0),
        probabilities=answers,
    )


def swap_figures(found: Swapped, what: str, clusters: Sequence[object]) -> tuple[Figure, ...]:
    """How often the label follows `what` alone, and how far the answer moves."""
    return (
        mean_figure(
            "flip_rate",
            f"share of the sentences whose label changes with {what} alone",
            found.flips,
            better="lower",
            unit="share",
            clusters=clusters,
        ),
        mean_figure(
            "score_shift",
            f"how far the probabilities of its labels move with {what} alone",
            found.shift,
            better="lower",
            unit="difference",
            clusters=clusters,
            bounds=SHARE,
        ),
    )


def gender_table(
    labels: Sequence[str],
    female: NDArray[np.float64],
    male: NDArray[np.float64],
    clusters: Sequence[object],
) -> Table:
    """Each label's probability in the feminine version, less that in the masculine one."""
    rows = []
    for at, label in enumerate(labels):
        found = mean(female[:, at] - male[:, at], clusters=clusters, bounds=BALANCE)
        rows.append((label, found.value, found.low, found.high))
    return Table(
        title="Each label's probability, feminine minus masculine version",
        columns=("label", "difference", "from", "to"),
        rows=tuple(rows),
        note="Above 0 the label is likelier for the feminine version; 0 is even.",
    )


def furthest(
    title: str, texts: Sequence[Sequence[str]], names: Sequence[str], by: Values
) -> tuple[Shown, ...]:
    """The texts with the largest `by`, in all versions; none with 0."""
    order = np.argsort(-by, kind="stable")[:_SHOWN]
    return tuple(
        Shown(
            title=title,
            spans=(Span(text=texts[at][0]),),
            facts=(
                *((name, text) for name, text in zip(names[1:], texts[at][1:], strict=True)),
                ("by how much", f"{by[at]:.3f}"),
            ),
            note=f"Shown above: {names[0]}.",
        )
        for at in order
        if by[at] > 0
    )
