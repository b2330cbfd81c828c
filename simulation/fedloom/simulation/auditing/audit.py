"""Measured beside claimed: one federation with canaries, and what its adapters tell of them."""

from collections.abc import Callable, Iterator

from fedloom.server.evaluator.corpus import pick
from fedloom.server.evaluator.findings import AuditFindings
from fedloom.server.evaluator.privacy.one_run import audit
from fedloom.server.run.checkpoint import read_checkpoint
from fedloom.server.run.folder import RunFolder
from fedloom.server.run.journal import Journal
from fedloom.shared.adapter import Adapter
from fedloom.shared.data.records import read_records
from fedloom.shared.errors import EvaluationError
from fedloom.shared.tasks.registry import load_base
from fedloom.simulation.auditing.asked import (
    PrivacyAuditOptions,
    check_options,
    run_options,
    sha256_of,
)
from fedloom.simulation.auditing.canaries import Dealt, Kind, deal, known_words
from fedloom.simulation.auditing.findings import Planted, findings_of
from fedloom.simulation.auditing.kept import FoundOf, KeptFindings
from fedloom.simulation.auditing.lira import has_lira, with_lira
from fedloom.simulation.auditing.scores import Evidence, Known, evidence
from fedloom.simulation.auditing.shadows import check_shadows, run_shadows
from fedloom.simulation.auditing.training import Training
from fedloom.simulation.executors.base import Executor
from fedloom.simulation.prepare import Prepared, source_of, split_of
from fedloom.simulation.progress import Progress

_LEAST_CANARIES = 10


def audit_federation(
    prepared: Prepared,
    folder: RunFolder,
    executor: Executor,
    progress: Progress,
    options: PrivacyAuditOptions | None = None,
    *,
    resume: bool = False,
) -> AuditFindings:
    """Run the federation with canaries in `folder`, and bound epsilon from below by its
    adapters.

    The run is the ordinary one: the sites' own service, ledger and trainer, with noise found
    anew for the size that is declared with half of the canaries. Its epsilon is a promise to
    each canary as to anybody. The findings are kept in `folder` as `privacy-audit.json`. Shadow
    runs come after it, each a run folder of its own in `folder`'s `shadows`; they add what LiRA
    tells, and change no bound. With `resume` the audit in `folder` goes on: rounds that are
    durable are not trained again, in whichever of its runs, and what was found of the same
    canaries, plan and final adapter is not looked for again.

    Guarantee: if every site keeps its promise to its privacy units, under adding or removing one
    of them, the bound is above the claim with a probability of at most 5 % over the coins and
    the training. Assumes that coins and noise are independent: each has a stream of its own.

    Raises:
        EvaluationError: too few canaries or shadows, no such site, or a vocabulary without words;
            with `resume`, canaries, coins or options other than before.
        FedLoomError: as `run_federation`.
    """
    options = options or PrivacyAuditOptions()
    check_shadows(options.shadows)
    if resume:
        check_options(folder, options)
    dealt = _dealt(prepared, options)
    how = run_options(folder, options, dealt, resume=resume)
    training = Training(executor=executor, progress=progress)
    audited = training.run(prepared, dealt, folder, how, stage="train with canaries")
    kept = _kept(audited, folder, dealt)
    findings = kept.before() if resume else None
    if findings is None:
        known = _known(prepared, dealt)
        progress.stage("look for canaries", len(audited.plan.rounds.milestones) - 1)
        found = evidence(audited, _checkpoints(audited, folder), known, progress.step)
        findings = kept.keep(findings_of(_planted(audited, folder, dealt, found)))
    if options.shadows == 0 or has_lira(findings):
        return findings
    runs, seed = options.shadows, options.seed
    seen = run_shadows(prepared, dealt, folder, training, runs=runs, seed=seed)
    return kept.keep(with_lira(findings, seen, dealt.inside))


def _kept(audited: Prepared, folder: RunFolder, dealt: Dealt) -> KeptFindings:
    plan = audited.plan
    final = read_checkpoint(folder.checkpoints, plan.rounds.total, plan.sha256)
    of = FoundOf(
        dealt_sha256=sha256_of(dealt), plan_sha256=plan.sha256, adapter_sha256=final.sha256
    )
    return KeptFindings(folder=folder, of=of)


def _dealt(prepared: Prepared, options: PrivacyAuditOptions) -> Dealt:
    if options.canaries < _LEAST_CANARIES:
        raise EvaluationError(
            f"privacy audit: {options.canaries} canaries, expected at least {_LEAST_CANARIES}"
        )
    names = [site.name for site in prepared.plan.sites]
    if options.site is not None and options.site not in names:
        known = ", ".join(names)
        raise EvaluationError(f"privacy audit: no site {options.site}, expected one of {known}")
    plan = prepared.plan
    kind = Kind(
        task=plan.task,
        unit=plan.privacy.unit,
        split=split_of(prepared.config),
        groups=prepared.groups,
    )
    words = known_words(load_base(plan, prepared.model).tokenizer)
    sites = names if options.site is None else [options.site]
    return deal(options.canaries, kind, words, sites=sites, seed=options.seed)


def _checkpoints(audited: Prepared, folder: RunFolder) -> Callable[[int], Adapter]:
    return lambda number: read_checkpoint(folder.checkpoints, number, audited.plan.sha256)


def _known(prepared: Prepared, dealt: Dealt) -> Known:
    """The canaries, and as many of the sites' own training records, evenly picked."""
    config, split = prepared.config, split_of(prepared.config)
    records = [
        record
        for site in config.data.sites
        for record in split.training(
            read_records(source_of(config, site), labels=config.task.labels)
        )
    ]
    picked = [records[at] for at in pick(len(dealt.canaries), of=len(records))]
    return Known(canaries=dealt.canaries, records=picked, weight=len(records) / len(picked))


def _planted(audited: Prepared, folder: RunFolder, dealt: Dealt, found: Evidence) -> Planted:
    privacy = audited.plan.privacy
    return Planted(
        sites=dealt.sites,
        claimed=max(_claims(audited, folder, dealt), default=None),
        delta=privacy.delta,
        seeded=privacy.seeded,
        evidence=found.together,
        inside=dealt.inside,
        bounds=audit((found.whole, found.by_tensor), dealt.inside, delta=privacy.delta),
    )


def _claims(audited: Prepared, folder: RunFolder, dealt: Dealt) -> Iterator[float]:
    """By site with canaries, the smaller of what it promised and what it says it spent."""
    told = {
        site.site: site.epsilon_spent
        for entry in Journal(folder.rounds).entries()
        for site in entry.sites
        if site.epsilon_spent is not None
    }
    for name in dealt.sites:
        promised = audited.plan.site(name).epsilon
        if promised is not None:
            yield min(promised, told.get(name) or promised)
