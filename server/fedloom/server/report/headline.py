"""The figures that a report answers with at a glance."""

from dataclasses import dataclass

from fedloom.server.report.schema import Arm, Estimate, Report
from fedloom.shared.config.data import JOINT


@dataclass(frozen=True, kw_only=True)
class Headline:
    """Accuracies on the joint test set, and differences in percentage points.

    `privacy_cost` is the federation without privacy minus the federation with it;
    `federating_gain` the federation minus the mean of the sites alone. None where an arm was
    not run.
    """

    federation: Estimate | None
    non_private: Estimate | None
    alone_mean: float | None
    privacy_cost: float | None
    federating_gain: float | None
    bytes_up: int
    bytes_down: int


def headline(report: Report) -> Headline:
    """What a report says first."""
    federation = _first(report, "federation")
    plain = _first(report, "non-private")
    alone = [_joint(arm).value for arm in report.evaluation if arm.kind == "alone"]
    mean = sum(alone) / len(alone) if alone else None
    return Headline(
        federation=federation,
        non_private=plain,
        alone_mean=mean,
        privacy_cost=100 * (plain.value - federation.value) if plain and federation else None,
        federating_gain=100 * (federation.value - mean)
        if mean is not None and federation
        else None,
        bytes_up=max((site.bytes_up for site in report.sites), default=0),
        bytes_down=max((site.bytes_down for site in report.sites), default=0),
    )


def concern_of(report: Report) -> str | None:
    """What the figures do not say loudly enough, or None."""
    scores = {arm.kind: arm.tests[JOINT] for arm in report.evaluation}
    ours, majority = scores.get("federation"), scores.get("majority")
    if ours is None or majority is None:
        return None
    if ours.accuracy.low <= majority.accuracy.value:
        return (
            "the federation is not clearly better than always the most frequent label; it has "
            "learned little. More records, another learning rate or a larger epsilon may help"
        )
    if ours.loss.value > majority.loss.value:
        return (
            "the federation's probabilities are overconfident: their loss is above that of the "
            "label frequencies. Use its labels, not its probabilities, or calibrate them"
        )
    return None


def _first(report: Report, kind: str) -> Estimate | None:
    return next((_joint(arm) for arm in report.evaluation if arm.kind == kind), None)


def _joint(arm: Arm) -> Estimate:
    return arm.tests[JOINT].accuracy


def in_bytes(count: int) -> str:
    """A size for people, in powers of 1,000."""
    size = float(count)
    for unit in ("bytes", "kB", "MB", "GB"):
        if round(size, 1) < 1000 or unit == "GB":
            return f"{size:.0f} {unit}" if unit == "bytes" else f"{size:.1f} {unit}"
        size /= 1000
    raise ValueError(f"{count} bytes")


def in_percent(estimate: Estimate | None) -> str:
    """An accuracy for people."""
    return "–" if estimate is None else f"{100 * estimate.value:.1f} %"


def in_points(difference: float | None) -> str:
    """A difference in percentage points, signed."""
    return "–" if difference is None else f"{difference:+.1f} points"
