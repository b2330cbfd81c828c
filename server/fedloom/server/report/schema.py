"""`report.json`, typed and versioned."""

from typing import Literal

from pydantic import BaseModel, ConfigDict

from fedloom.server.run.journal import RoundEntry


class ReportPart(BaseModel):
    """Base of all that a report holds: frozen, unknown keys refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Estimate(ReportPart):
    """A figure on a test set with its bootstrap 95 % interval."""

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


class ModelFacts(ReportPart):
    """The base model by name and fingerprint, and the adapter on it, by its public start if any."""

    name: str
    sha256: str
    start_sha256: str | None
    lora_rank: int
    lora_targets: tuple[str, ...]
    trained_parameters: int


class TaskFacts(ReportPart):
    """What was learned."""

    kind: str
    labels: tuple[str, ...]


class TrainingFacts(ReportPart):
    """How each site trained: rounds of steps on batches of that many units expected.

    In the first `head_rounds` of the rounds only the head did, for `head_local_steps` each.
    """

    rounds: int
    local_steps: int
    head_rounds: int
    head_local_steps: int
    expected_batch_size: int
    optimizer: str
    learning_rate: float
    head_learning_rate: float
    schedule: str
    warmup: float
    precision: str


class PrivacyFacts(ReportPart):
    """What was promised to every privacy unit at every site.

    `seeded` true means that noise was repeatable, so that nothing was protected.
    """

    mode: Literal["dp-sgd", "none"]
    unit: str
    relation: str
    accountant: str
    epsilon: float | None
    delta: float
    clip_norm: float
    clipping: str
    seeded: bool


class LedgerFacts(ReportPart):
    """The last entry of a site's ledger, as it came with the site's newest update.

    `digest`, signed with the site's `public_key`, covers that entry and all before it.
    """

    number: int
    digest: str
    public_key: str


class SiteFacts(ReportPart):
    """One site: its public size, what it spent by its own ledger, and what crossed its border.

    `bytes_up` and `bytes_down` are totals of the adapter's numbers over all rounds, without
    headers and the transport's envelope. `epsilon_spent` is None without privacy. `epsilon_left` of
    `epsilon_allowed` is what remains, over all runs, of what the site said that its policy allows;
    both None without privacy, with seeded noise, and where the site did not say. `epsilon_declared`
    is what it said that it had spent when it last said who it is; None in the same cases, and where
    it said that no epsilon covers what it answered.
    """

    name: str
    records: int
    epsilon_spent: float | None
    epsilon_allowed: float | None
    epsilon_left: float | None
    epsilon_declared: float | None = None
    delta: float
    noise_multiplier: float
    sample_rate: float
    steps: int
    bytes_up: int
    bytes_down: int
    ledger_head: LedgerFacts | None


class Stop(ReportPart):
    """A site refused by a rule of its own, in `round` for the first time."""

    site: str
    round: int
    rule: str


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
