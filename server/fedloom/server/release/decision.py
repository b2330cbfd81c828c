"""`decision.json`, typed and versioned: whether an adapter may leave, by which rules, and who
overrode what."""

import hashlib
import json
from datetime import UTC, datetime
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from fedloom.shared.config.release import Bound
from fedloom.shared.wire.messages import Digest

# `noted` is told and holds nothing; the others speak for themselves.
Outcome = Literal["passed", "failed", "not-measured", "noted"]
Time = Annotated[str, Field(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$")]
# Reasons are shown as they are typed, on one line.
_Line = Annotated[str, Field(min_length=1, max_length=1000, pattern=r"^[^\x00-\x1f\x7f]+$")]
_DOMAIN = b"fedloom-release-decision-1\n"


def now() -> str:
    """The coordinator's clock, UTC, to the second."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Ruling(_Part):
    """One rule and what came of it.

    A rule on a figure has its `figure`, the `bound` that was held against `at_least` or
    `at_most`, and the figure's `value` with its 95 % interval `low` to `high`, None where there
    is none, and how many `records` it was measured on. `holds` says whether the outcome alone
    keeps the adapter back; `final`, whether nobody may override that. `note` says why there is no
    figure, or what else to know.
    """

    name: str
    words: str
    outcome: Outcome
    holds: bool
    final: bool = False
    figure: str | None = None
    bound: Bound | None = None
    at_least: float | None = None
    at_most: float | None = None
    value: float | None = None
    low: float | None = None
    high: float | None = None
    records: int | None = None
    note: str = ""

    @property
    def threshold(self) -> str:
        """The threshold in words, empty where there is none."""
        if self.at_least is not None:
            return f"at least {self.at_least:.4g}"
        return "" if self.at_most is None else f"at most {self.at_most:.4g}"


class Override(_Part):
    """A person's word against one rule. `by` is as they named themselves."""

    rule: _Line
    by: _Line
    reason: _Line
    at: Time


class Evidence(_Part):
    """What was decided on, by SHA-256: an adapter's layout and values, a plan's canonical bytes,
    and the bytes of the files beside it; `suite_sha256` is of what was asked and `corpus_sha256` of
    the records that it was asked on. The last three are None where nothing was measured, the very
    last also where the evaluation does not say."""

    adapter_sha256: Digest
    plan_sha256: Digest
    terms_sha256: Digest
    report_sha256: Digest
    evaluation_sha256: Digest | None
    suite_sha256: Digest | None = None
    corpus_sha256: Digest | None = None


class Decision(_Part):
    """Released or held, and why.

    Guarantee: it is `released` just when no rule holds it back that nobody overrode; an override
    stands beside its rule, which stays as it came out.
    """

    kind: Literal["fedloom-release-decision"] = "fedloom-release-decision"
    format: Literal[1] = 1
    fedloom: str
    name: str
    decided: Time
    outcome: Literal["released", "held"]
    evidence: Evidence
    rules: tuple[Ruling, ...]
    overrides: tuple[Override, ...] = ()

    @property
    def released(self) -> bool:
        """Whether the adapter may leave."""
        return self.outcome == "released"

    @property
    def held_by(self) -> tuple[Ruling, ...]:
        """The rules that keep the adapter back, overrides taken into account."""
        return standing(self.rules, self.overrides)

    @property
    def overridden(self) -> tuple[tuple[Ruling, Override], ...]:
        """Each rule that a person overrode, with their word."""
        rules = {rule.name: rule for rule in self.rules}
        return tuple((rules[each.rule], each) for each in self.overrides)

    @property
    def digest(self) -> str:
        """What the coordinator signs: SHA-256 over a prefix and the one byte form."""
        tree = self.model_dump(mode="json")
        text = json.dumps(tree, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        return hashlib.sha256(_DOMAIN + text.encode()).hexdigest()

    def to_json(self) -> bytes:
        """The decision as its file has it."""
        return self.model_dump_json(indent=2).encode() + b"\n"

    @model_validator(mode="after")
    def _follows(self) -> Self:
        rules = {rule.name: rule for rule in self.rules}
        if len(rules) != len(self.rules):
            raise ValueError("two rules have one name, expected different ones")
        overridden = [each.rule for each in self.overrides]
        if len(set(overridden)) != len(overridden):
            raise ValueError("a rule is overridden twice, expected once")
        for name in overridden:
            if name not in rules or not rules[name].holds or rules[name].final:
                raise ValueError(f"{name} is overridden, expected a rule that may be")
        if self.released == bool(self.held_by):
            raise ValueError(f"outcome {self.outcome} does not follow from the rules")
        return self


def standing(rules: tuple[Ruling, ...], overrides: tuple[Override, ...]) -> tuple[Ruling, ...]:
    """The rules that hold an adapter back and that nobody overrode."""
    overridden = {each.rule for each in overrides}
    return tuple(rule for rule in rules if rule.holds and rule.name not in overridden)
