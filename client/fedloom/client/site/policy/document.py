"""`policy.toml`: the site writes it; no coordinator, no bundle and no plan can change it."""

from pathlib import Path
from typing import Annotated, Literal

import tomli_w
from pydantic import Field

from fedloom.shared.config.privacy import LEAST_NOISE, ReleasedValue
from fedloom.shared.config.reading import read_toml
from fedloom.shared.config.values import Count, Number, OpenFraction, Positive, Section
from fedloom.shared.wire.messages import Digest

MANUAL = "manual"


class BudgetSection(Section):
    """`[budget]`: what the records may be spent down to, for each privacy unit.

    `epsilon`, at `delta`, is for all runs together; `epsilon_per_run` for one plan's whole run by
    itself, no more than `epsilon` if left out. `min_noise_multiplier` bounds the noise of a single
    step from below, whatever the accountant makes of it; `min_units` is the smallest declared
    number of units that the site trains with.
    """

    epsilon: Positive
    delta: OpenFraction
    epsilon_per_run: Positive | None = None
    min_noise_multiplier: Annotated[Number, Field(ge=LEAST_NOISE)] = 0.3
    min_units: Count = 100


class LimitsSection(Section):
    """`[limits]`: how long one run may be, how large its adapter, and how many copies with words
    exchanged a record may have; how many rounds all runs may
    have together, since an attempt tells a little that no epsilon covers."""

    max_rounds: Count = 1000
    max_rounds_in_all: Count = 5000
    max_steps: Count = 10_000
    max_rank: Count = 64
    max_copies: Count = 4


class AllowSection(Section):
    """`[allow]`: what may be trained.

    `models` are fingerprints of base models, none meaning whichever the site file names;
    `targets` are names of layers, none meaning any. `mitigation` lets a plan train on copies with
    words exchanged and weight groups, which costs time and no epsilon. The other two switches are
    for simulations: seeded noise protects nobody, and neither does training without privacy.
    """

    models: tuple[Digest, ...] = ()
    tasks: tuple[Literal["classification", "causal-lm", "seq2seq"], ...] = (
        "classification",
        "causal-lm",
        "seq2seq",
    )
    targets: tuple[str, ...] = ()
    mitigation: bool = True
    seeded_noise: bool = False
    without_privacy: bool = False


class ReleaseSection(Section):
    """`[release]`: what may leave beside the noised update; by default nothing.

    Each of `values` leaves noised and is charged like a training step. The noise of each release
    is at least `min_metric_noise_multiplier` times what one privacy unit can move.
    """

    values: tuple[ReleasedValue, ...] = ()
    min_metric_noise_multiplier: Annotated[Number, Field(ge=1)] = 10.0


class ApprovalSection(Section):
    """`[approval]`: whether a plan within the policy trains at once, or waits for a steward."""

    mode: Literal["automatic-within-policy", "manual"]


class Policy(Section):
    """The whole of `policy.toml`.

    All sections must be there, and what bounds the most in them: a file that an editor has just
    emptied, or was stopped in writing, is refused and not filled up with defaults.
    """

    budget: BudgetSection
    limits: LimitsSection
    allow: AllowSection
    release: ReleaseSection
    approval: ApprovalSection

    @classmethod
    def usual(cls, allow: AllowSection | None = None) -> "Policy":
        """For an institution to begin with."""
        return cls(
            budget=BudgetSection(epsilon=8.0, delta=1e-5),
            limits=LimitsSection(),
            allow=allow or AllowSection(),
            release=ReleaseSection(),
            approval=ApprovalSection(mode="automatic-within-policy"),
        )

    def to_toml(self) -> str:
        """As the text of a policy file."""
        return tomli_w.dumps(self.model_dump(mode="json", exclude_none=True))


def read_policy(path: Path) -> Policy:
    """Read a policy file.

    Raises:
        ConfigError: missing, no TOML, or with problems; all are named at once.
    """
    return read_toml(path, Policy, expected="a policy.toml")
