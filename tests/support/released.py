"""Finished runs as files alone, without a model: what a release is made of."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from peft import LoraConfig, TaskType
from safetensors.numpy import save_file

from fedloom.server.evaluator.evaluation import Evaluation, SubjectFindings
from fedloom.server.evaluator.findings import AuditFindings, Figure
from fedloom.server.report.build import Findings, build_report
from fedloom.server.report.schema import Report, Timings
from fedloom.server.run.folder import RunFolder
from fedloom.server.run.heads import HeadBook, read_heads
from fedloom.server.run.journal import RoundEntry, SiteRound
from fedloom.shared.adapter import Adapter
from fedloom.shared.config.release import ReleaseSection
from fedloom.shared.keys import SigningKey
from fedloom.shared.model.card import AdapterCard
from fedloom.shared.plan import Plan
from fedloom.shared.wire.heads import LedgerHead, signed_of
from fedloom.shared.wire.messages import DeclaredBudget
from tests.support.plans import ROUNDS, STEPS, a_plan, an_adapter

SPENT = 0.9


def a_figure(
    name: str, value: float, low: float | None, high: float | None, *, records: int = 400
) -> Figure:
    return Figure(
        key=name,
        words=f"the {name}",
        value=value,
        low=low,
        high=high,
        records=records,
        better="higher",
        unit="share",
    )


def an_audit(name: str, *figures: Figure, why_not: str = "") -> AuditFindings:
    return AuditFindings(
        audit=name,
        title=name.title(),
        asks=f"What of {name}?",
        applies=not why_not,
        why_not=why_not,
        figures=figures,
    )


def bounded(audit: str, value: float, *, records: int = 400) -> AuditFindings:
    """A privacy audit that measured an epsilon."""
    return an_audit(audit, a_figure("epsilon_lower_bound", value, None, None, records=records))


def an_evaluation(
    *audits: AuditFindings, plan: Plan | None = None, adapter: Adapter | None = None
) -> Evaluation:
    plan, adapter = plan or a_plan(), adapter or an_adapter()
    subject = SubjectFindings(
        name="federation",
        kind="federation",
        description="told",
        adapter_sha256=adapter.sha256,
        epsilon=1.0,
        audits=audits,
    )
    return Evaluation(
        fedloom="0.1.0",
        suite="s",
        suite_sha256="cd" * 32,
        corpus_sha256="ef" * 32,
        model_name=plan.model.name,
        model_sha256=plan.model.sha256,
        about="federation",
        subjects=(subject,),
        seconds=1.0,
    )


VALIDATION = an_audit("validation", a_figure("macro_f1", 0.8, 0.75, 0.85))


def a_head(number: int = 7) -> LedgerHead:
    """Of a ledger whose key nobody else has."""
    key, digest = SigningKey.generate(), "5a" * 32
    signature = key.sign(signed_of(number, digest))
    return LedgerHead(public_key=key.public, number=number, digest=digest, signature=signature)


@dataclass(frozen=True, kw_only=True)
class Story:
    """How a run went: what `north` and `south` spent, allow, and their ledgers' heads; who was
    `away` all the time, and what sites `declared` as spent, if it is other than that."""

    plan: Plan = field(default_factory=a_plan)
    adapter: Adapter = field(default_factory=an_adapter)
    spent: float | None = SPENT
    allowed: float | None = 2.0
    away: tuple[str, ...] = ()
    declared: float | Literal["nothing", "as spent"] = "as spent"
    steps: int = STEPS * ROUNDS
    heads: dict[str, LedgerHead] = field(
        default_factory=lambda: {"north": a_head(), "south": a_head()}
    )

    def report(self) -> Report:
        findings = Findings(
            adapter=self.adapter,
            rounds=[self._round(number) for number in range(1, ROUNDS + 1)],
            heads=self.heads,
            budgets=self._budgets(),
            curve=(),
            arms=(),
            omitted=(),
            holdout="test",
            timings=Timings(train=1, compare=0, evaluate=0, total=1),
        )
        return build_report(self.plan, findings)

    def _round(self, number: int) -> RoundEntry:
        sites = [
            SiteRound(
                site=site.name,
                fault="was away" if site.name in self.away else None,
                bytes_up=80,
                bytes_down=80,
                epsilon_spent=None if site.name in self.away else self.spent,
                steps_spent=None if site.name in self.away else self.steps,
                update_sha256=f"{number:x}{site.name[0].encode().hex()}" + "0" * 61,
            )
            for site in self.plan.sites
        ]
        digest = self.adapter.sha256 if number == ROUNDS else f"{number}" * 64
        return RoundEntry(
            round=number, accepted=2, seconds=1.0, adapter_sha256=digest, sites=tuple(sites)
        )

    def _budgets(self) -> dict[str, DeclaredBudget]:
        if self.allowed is None:
            return {}
        told = self.spent if self.declared == "as spent" else self.declared
        budget = DeclaredBudget(
            unit="record",
            delta=1e-5,
            epsilon_allowed=self.allowed,
            epsilon_spent=None if told == "nothing" else told,
        )
        return {site.name: budget for site in self.plan.sites}


def peft_config(plan: Plan) -> LoraConfig:
    """What PEFT writes beside `an_adapter`, whose one module is called `l`."""
    return LoraConfig(
        base_model_name_or_path=plan.model.name,
        r=plan.lora.rank,
        lora_alpha=plan.lora.alpha,
        lora_dropout=plan.lora.dropout,
        target_modules=["l"],
        modules_to_save=["classifier", "score"],
        task_type=TaskType.SEQ_CLS,
    )


def a_finished_run(
    path: Path,
    *,
    terms: ReleaseSection | None = None,
    evaluation: Evaluation | None = None,
    story: Story | None = None,
) -> RunFolder:
    """A run's folder as it is at its end."""
    story, run = story or Story(), RunFolder(path)
    run.create(story.plan, terms)
    run.adapter.mkdir()
    save_file(story.adapter.state(), run.adapter / "adapter_model.safetensors")
    peft_config(story.plan).save_pretrained(run.adapter)
    AdapterCard.of(story.plan).write(run.adapter)
    book = HeadBook(run.heads)
    for name, head in story.heads.items():
        book.remember(name, head)
    if read_heads(run.heads) != story.heads:
        raise ValueError("heads were not remembered")
    run.report_json.write_text(story.report().model_dump_json(indent=2), encoding="utf-8")
    if evaluation is not None:
        run.evaluation.write_text(evaluation.model_dump_json(indent=2), encoding="utf-8")
    return run


def rules(*each: dict[str, object], **more: object) -> ReleaseSection:
    """A `[release]` of these rules."""
    return ReleaseSection.model_validate({"rules": each, **more})
