"""`report.json`, typed and versioned: scores, beside the facts of the run."""

from typing import Literal

from fedloom.server.report.facts import (
    ModelFacts,
    PrivacyFacts,
    ReportPart,
    SiteFacts,
    Stop,
    TaskFacts,
    TrainingFacts,
)
from fedloom.server.run.journal import RoundEntry


class Estimate(ReportPart):
    """A figure on a test set with its 95 % interval."""

    value: float
    low: float
    high: float


class Scores(ReportPart):
    """How one adapter does on one test set of `records` records.

    Intervals are over `units` privacy units, None where each record is one. `accuracy` of answers
    without a label set counts those that greedy decoding gives exactly; they have no `macro_f1` and
    `ece`. `loss` is the mean negative log-likelihood in nats; `ece` the expected calibration error
    over 15 bins of equal width (Guo et al. 2017).
    """

    records: int
    units: int | None = None
    accuracy: Estimate
    loss: Estimate
    macro_f1: Estimate | None = None
    ece: Estimate | None = None


class Arm(ReportPart):
    """One side of the comparison. `epsilon` is each site's promise, None without privacy.

    `kind` is one of: the majority class, the base model before training, one site training
    alone, the federation, the federation without privacy, the federation with mitigation at its
    sites.
    """

    name: str
    kind: Literal["majority", "untrained", "alone", "federation", "non-private", "mitigated"]
    description: str
    epsilon: float | None
    tests: dict[str, Scores]


class CurvePoint(ReportPart):
    """Accuracy after a round on a fixed part of the joint test set; round 0 is the start."""

    round: int
    records: int
    accuracy: float
    loss: float


class HeldOutPoint(ReportPart):
    """Accuracy of the adapter that `round` started from, on what `sites` sites hold out, from
    their noised counts.

    `low` to `high` is a 95 % interval for the noise alone (Fieller 1954). `accuracy` is None where
    the noise hides how many units there are.
    """

    round: int
    sites: int
    accuracy: float | None
    low: float
    high: float


class Timings(ReportPart):
    """Wall seconds; orientation only, as machines differ. `compare` trains the other arms,
    `evaluate` scores them all, `audit` runs the suite."""

    train: float
    compare: float
    evaluate: float
    audit: float = 0.0
    total: float


class Report(ReportPart):
    """Everything that a run can say for itself.

    `omitted` names arms of the comparison that were not run, and how to run them;
    `epsilon_by_round` has each site's epsilon after each round; `stops` who refused by which rule;
    `held_out` what sites told of their held-out units in measured rounds. In a `deployment` the
    records were never where the report was made, so nothing was scored.
    """

    version: Literal[3] = 3
    setting: Literal["simulation", "deployment"] = "simulation"
    fedloom: str
    name: str
    plan_sha256: str
    adapter_sha256: str
    holdout: Literal["test", "validation"]
    method: str
    weights: str
    server_momentum: float
    model: ModelFacts
    task: TaskFacts
    training: TrainingFacts
    privacy: PrivacyFacts
    sites: tuple[SiteFacts, ...]
    rounds: tuple[RoundEntry, ...]
    stops: tuple[Stop, ...]
    epsilon_by_round: dict[str, tuple[float, ...]]
    curve: tuple[CurvePoint, ...]
    held_out: tuple[HeldOutPoint, ...] = ()
    evaluation: tuple[Arm, ...]
    omitted: tuple[str, ...]
    timings: Timings
