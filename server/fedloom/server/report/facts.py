"""What a report says of a run beside its scores: model, task, training, promise, and sites."""

from typing import Literal

from pydantic import BaseModel, ConfigDict


class ReportPart(BaseModel):
    """Base of all that a report holds: frozen, unknown keys refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Fact(ReportPart):
    """One question, and what is known of it."""

    about: str
    known: str


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
    `mitigation` is what was done to each record's loss against bias, in words; empty for nothing.
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
    mitigation: tuple[str, ...] = ()

    @property
    def against_bias(self) -> str:
        """The same as a sentence without its stop."""
        if not self.mitigation:
            return "In training, nothing is changed against bias"
        changed = "; ".join(self.mitigation)
        return f"In training, each record’s loss is changed against bias: {changed}"


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

    @property
    def promises(self) -> bool:
        """Whether an epsilon holds: repeatable noise keeps none that was planned."""
        return self.epsilon is not None and not self.seeded


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
