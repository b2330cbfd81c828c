"""`provenance.json`: what the adapter came from, by digest, round by round."""

from collections.abc import Mapping
from typing import Literal

from pydantic import BaseModel, ConfigDict

from fedloom.server.report.schema import Report
from fedloom.server.run.journal import RoundEntry


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class RoundProvenance(_Part):
    """One round: the digest of each site's update that counted, which the site's ledger has as
    `sealed`, and of the adapter that they were woven into. A run of an older FedLoom kept none of
    the updates' (None)."""

    round: int
    updates: dict[str, str | None]
    adapter_sha256: str


class Provenance(_Part):
    """From base model and plan to adapter. `start_sha256` is None where round 1 began from a
    fresh one, which follows from the plan."""

    kind: Literal["fedloom-provenance"] = "fedloom-provenance"
    format: Literal[1] = 1
    fedloom: str
    setting: Literal["simulation", "deployment"]
    model_name: str
    model_sha256: str
    plan_sha256: str
    start_sha256: str | None
    rounds: tuple[RoundProvenance, ...]
    adapter_sha256: str

    @classmethod
    def of(cls, report: Report) -> "Provenance":
        """That of the adapter that a report is about."""
        return cls(
            fedloom=report.fedloom,
            setting=report.setting,
            model_name=report.model.name,
            model_sha256=report.model.sha256,
            plan_sha256=report.plan_sha256,
            start_sha256=report.model.start_sha256,
            rounds=tuple(_round(entry) for entry in report.rounds),
            adapter_sha256=report.adapter_sha256,
        )

    def to_json(self) -> bytes:
        """The one form that the file has."""
        return self.model_dump_json(indent=2).encode() + b"\n"


def _round(entry: RoundEntry) -> RoundProvenance:
    updates: Mapping[str, str | None] = {
        site.site: site.update_sha256 for site in entry.sites if site.fault is None
    }
    return RoundProvenance(
        round=entry.round, updates=dict(updates), adapter_sha256=entry.adapter_sha256
    )
