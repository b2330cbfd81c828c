"""The same scores by class and by site: a mean over all hides who is served badly."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fedloom.server.evaluator.findings import Cell, Table
from fedloom.server.evaluator.metrics import Outcomes, class_f1, score
from fedloom.server.evaluator.statistics import Interval, share_of
from fedloom.server.evaluator.units import Units
from fedloom.server.report.schema import Estimate

Labels = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class SiteScores:
    """Of one site's records, of `units` privacy units; `macro_f1` is spelled out, empty without a
    label set."""

    site: str
    accuracy: Interval
    macro_f1: str
    records: int
    units: int


def cell(found: Interval | Estimate) -> str:
    """A value with its interval, as tables show it."""
    return f"{found.value:.3f} [{found.low:.3f}, {found.high:.3f}]"


def about_classes(labels: Labels, names: Sequence[str]) -> str:
    """What to say of classes that no record has; empty where all occur."""
    there = np.unique(labels)
    if there.size == 1:
        return (
            f"All {labels.size} records have the label {names[there[0]]}: nothing can be said "
            "about other labels, and there is no F1 over all of them."
        )
    missing = [name for number, name in enumerate(names) if number not in there]
    if missing:
        return f"No record has the label {', '.join(missing)}; the mean F1 counts it as 0."
    return ""


def by_class(
    outcomes: Outcomes, labels: Labels, names: Sequence[str], *, units: Units, resamples: int
) -> Table:
    """Precision, recall, F1 and support of each class of `outcomes` with probabilities.

    Shares have the interval of `share_of`, F1 the bootstrap's. A class that never occurs has no
    recall and no F1, one that is never predicted no precision.
    """
    counts = np.bincount(labels, minlength=len(names))
    return Table(
        title="By label",
        columns=("label", "precision", "recall", "F1", "records"),
        rows=tuple(_classes(outcomes, labels, names, units, resamples)),
        note="Precision: how often it is right when it gives the label. Recall: how many of the "
        "label's records it finds. F1 is high where both are. Always saying "
        f"{names[int(counts.argmax())]} would be right in {counts.max() / labels.size:.1%} of the "
        "records.",
    )


def _classes(
    outcomes: Outcomes, labels: Labels, names: Sequence[str], units: Units, resamples: int
) -> Iterator[tuple[Cell, ...]]:
    f1 = class_f1(outcomes, labels, units=units, resamples=resamples)
    called = called_classes(outcomes)
    for number, name in enumerate(names):
        own, said = labels == number, called == number
        support = int(own.sum())
        precision, recall = _share(own, said, units), _share(said, own, units)
        yield name, precision, recall, cell(f1[number]) if support else None, support


def called_classes(outcomes: Outcomes) -> Labels:
    """The most probable class of each record.

    Raises:
        ValueError: there are no classes.
    """
    if outcomes.probabilities is None:
        raise ValueError("classes of answers without a label set")
    found: Labels = outcomes.probabilities.argmax(axis=1).astype(np.int64)
    return found


def site_scores(
    sites: Sequence[str], outcomes: Outcomes, labels: Labels, *, units: Units, resamples: int
) -> list[SiteScores]:
    """Of each site, the worst first; accuracy with the interval of `share_of`, macro-F1 with the
    bootstrap's."""
    names, found = np.array(sites), []
    for site in dict.fromkeys(sites):
        at = np.flatnonzero(names == site)
        part, of = outcomes[at], units[at]
        found.append(
            SiteScores(
                site=site,
                accuracy=share_of(part.right, of.clusters),
                macro_f1=_macro_f1(part, labels[at], of, resamples),
                records=at.size,
                units=of.count,
            )
        )
    return sorted(found, key=lambda one: one.accuracy.value)


def by_site(scores: Sequence[SiteScores], *, right: str) -> Table:
    """`scores` for readers; `right` is what being right is called."""
    f1 = any(one.macro_f1 for one in scores)
    return Table(
        title="By site",
        columns=("site", right, "mean F1", "records") if f1 else ("site", right, "records"),
        rows=tuple(
            (one.site, cell(one.accuracy), *((one.macro_f1,) if f1 else ()), one.records)
            for one in scores
        ),
        note="The worst site comes first. Of several, one is lowest even if all are alike.",
    )


def _macro_f1(outcomes: Outcomes, labels: Labels, units: Units, resamples: int) -> str:
    if outcomes.probabilities is None:
        return ""
    if np.unique(labels).size == 1:
        return "one label only"
    found = score(outcomes, labels, units=units, resamples=resamples).macro_f1
    return cell(found) if found else ""


def _share(of: NDArray[np.bool_], among: NDArray[np.bool_], units: Units) -> str | None:
    return cell(share_of(of[among], units[among].clusters)) if among.any() else None
