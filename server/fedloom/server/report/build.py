"""Puts a finished run's facts together as a `Report`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Literal

from fedloom.server.planning import epsilon_by_round
from fedloom.server.report.facts import (
    ModelFacts,
    PrivacyFacts,
    SiteFacts,
    TaskFacts,
    TrainingFacts,
)
from fedloom.server.report.held_out import held_out_points
from fedloom.server.report.schema import Arm, CurvePoint, Report, Timings
from fedloom.server.report.sites import site_facts, stops_of
from fedloom.server.run.journal import RoundEntry
from fedloom.shared.adapter import Adapter
from fedloom.shared.phases import phases_of
from fedloom.shared.plan import Plan, SitePlan
from fedloom.shared.wire.heads import LedgerHead
from fedloom.shared.wire.messages import DeclaredBudget


@dataclass(frozen=True, kw_only=True)
class Findings:
    """What a run and its evaluation left behind; `heads` and `budgets` by site."""

    adapter: Adapter
    rounds: Sequence[RoundEntry]
    heads: Mapping[str, LedgerHead]
    budgets: Mapping[str, DeclaredBudget]
    curve: Sequence[CurvePoint]
    arms: Sequence[Arm]
    omitted: Sequence[str]
    holdout: Literal["test", "validation"]
    timings: Timings
    setting: Literal["simulation", "deployment"] = "simulation"


def build_report(plan: Plan, findings: Findings) -> Report:
    """The report of one run of `plan`."""
    return Report(
        fedloom=version("fedloom"),
        setting=findings.setting,
        name=plan.name,
        plan_sha256=plan.sha256,
        adapter_sha256=findings.adapter.sha256,
        holdout=findings.holdout,
        method=plan.aggregation.method,
        weights=plan.aggregation.weights,
        server_momentum=plan.aggregation.server_momentum,
        model=_model_facts(plan, findings.adapter),
        task=TaskFacts(kind=plan.task.kind, labels=plan.task.labels),
        training=_training_facts(plan),
        privacy=_privacy_facts(plan),
        sites=tuple(_site_facts(plan, site, findings) for site in plan.sites),
        rounds=tuple(findings.rounds),
        stops=stops_of(findings.rounds),
        epsilon_by_round=dict(epsilon_by_round(plan)),
        curve=tuple(findings.curve),
        held_out=held_out_points(plan, findings.rounds),
        evaluation=tuple(findings.arms),
        omitted=tuple(findings.omitted),
        timings=findings.timings,
    )


def _model_facts(plan: Plan, adapter: Adapter) -> ModelFacts:
    return ModelFacts(
        name=plan.model.described,
        sha256=plan.model.sha256,
        start_sha256=plan.start_sha256,
        lora_rank=plan.lora.rank,
        lora_targets=plan.lora.targets,
        trained_parameters=phases_of(plan)[-1].layout(adapter.layout).size,
    )


def _training_facts(plan: Plan) -> TrainingFacts:
    training = plan.training
    return TrainingFacts(
        rounds=plan.rounds.total,
        local_steps=training.local_steps,
        head_rounds=training.head_rounds,
        head_local_steps=training.head_local_steps or training.local_steps,
        expected_batch_size=training.expected_batch_size,
        optimizer=training.optimizer,
        learning_rate=training.learning_rate,
        head_learning_rate=training.head_learning_rate or training.learning_rate,
        schedule=training.schedule,
        warmup=training.warmup,
        precision=training.precision,
        mitigation=plan.mitigation.in_words if plan.mitigation else (),
    )


def _privacy_facts(plan: Plan) -> PrivacyFacts:
    privacy = plan.privacy
    return PrivacyFacts(
        mode=privacy.mode,
        unit=privacy.unit,
        relation=privacy.relation,
        accountant=privacy.accountant,
        epsilon=plan.promised_epsilon,
        delta=privacy.delta,
        clip_norm=privacy.clip_norm,
        clipping=privacy.clipping,
        seeded=privacy.seeded,
    )


def _site_facts(plan: Plan, site: SitePlan, findings: Findings) -> SiteFacts:
    head, budget = findings.heads.get(site.name), findings.budgets.get(site.name)
    return site_facts(plan, site, findings.rounds, head=head, budget=budget)
