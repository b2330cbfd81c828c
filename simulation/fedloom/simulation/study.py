"""A whole simulation: the federation, its comparison, the evaluation and the report."""

import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from fedloom.server.evaluator.bench import plan_bench
from fedloom.server.evaluator.corpus import Corpus
from fedloom.server.evaluator.evaluate import Evaluator
from fedloom.server.evaluator.kept_suite import kept_text
from fedloom.server.evaluator.suite import Suite
from fedloom.server.report.build import Findings, build_report
from fedloom.server.report.schema import Report, Timings
from fedloom.server.report.writing import write_report
from fedloom.server.run.budgets import read_budgets
from fedloom.server.run.folder import RunFolder
from fedloom.server.run.heads import settle_heads
from fedloom.server.run.journal import Journal, RoundEntry
from fedloom.server.run.telling import round_told
from fedloom.shared.adapter import Adapter
from fedloom.simulation.arms import ArmKind, TrainedArm, arms_beside, left_out
from fedloom.simulation.asked import Asked, asked_before, asked_file
from fedloom.simulation.begun import begun_beside
from fedloom.simulation.evaluating import audit_study, study_corpus, study_evaluator, study_suite
from fedloom.simulation.executors.base import Executor
from fedloom.simulation.federation import RunOptions, heads_beside, run_federation
from fedloom.simulation.prepare import Prepared
from fedloom.simulation.progress import Progress
from fedloom.simulation.scoring import score_study


@dataclass(frozen=True, kw_only=True)
class StudyOptions:
    """Which arms to train beside the federation, and how those left out can be had.

    `sites` as in `RunOptions`, for the federation itself alone. With `resume`, both are what the
    run was begun with, as are the config's groups, and `arms` are added.
    """

    arms: Sequence[ArmKind] = ()
    resume: bool = False
    sites: Path | None = None
    how_to_run_all: str = "fedloom simulate --compare all"


def run_study(
    prepared: Prepared,
    folder: RunFolder,
    executor: Executor,
    progress: Progress,
    options: StudyOptions | None = None,
) -> Report:
    """Run the federation and the arms asked for, score all, and write the report.

    Raises:
        FedLoomError: as `run_federation`; with `resume`, as `asked_before` and
            `Asked.check_corpus`, too. Rounds that were durable stay so.
    """
    options = options or StudyOptions()
    clock = _Clock()
    suite = study_suite(prepared, folder, resume=options.resume)
    asked, corpus = _asked(prepared, folder, options, suite)
    bench = plan_bench(
        prepared.plan, prepared.model, batch_size=prepared.config.evaluation.batch_size
    )
    auditor = study_evaluator(prepared, folder, bench, corpus, suite) if suite else None
    main = RunOptions(
        resume=options.resume,
        cache=_cache(folder),
        sites=asked.sites,
        observers=(auditor.observe,) if auditor else (),
        asked=_files(folder, asked, None if options.resume else suite),
    )
    final = _train(prepared, folder, executor, progress, main)
    training = clock.lap()
    arms = [arm for kind in asked.arms for arm in arms_beside(prepared, kind)]
    trained = [(arm, _train_arm(arm, folder, executor, progress)) for arm in arms]
    # All arms train on the same records, whose hidden states were kept for them.
    shutil.rmtree(_cache(folder), ignore_errors=True)
    comparing = clock.lap()
    evaluator = Evaluator(bench, corpus, resamples=prepared.config.evaluation.bootstrap)
    scored = score_study(prepared, folder, final, trained, evaluator, progress)
    evaluating = clock.lap()
    audited = audit_study(auditor, trained, progress) if auditor else None
    timings = Timings(
        train=training,
        compare=comparing,
        evaluate=evaluating,
        audit=clock.lap(),
        total=clock.since_start(),
    )
    remembered = heads_beside(asked.sites) or folder.heads
    findings = Findings(
        adapter=final,
        rounds=Journal(folder.rounds).entries(),
        heads=settle_heads(remembered, folder.heads, [site.name for site in prepared.plan.sites]),
        budgets=read_budgets(folder.budgets),
        curve=scored.curve,
        arms=scored.arms,
        omitted=left_out(prepared, asked.arms, how_to_run_all=options.how_to_run_all),
        holdout=prepared.config.evaluation.holdout,
        timings=timings,
    )
    report = build_report(prepared.plan, findings)
    write_report(report, folder, audited)
    return report


def _asked(
    prepared: Prepared, folder: RunFolder, options: StudyOptions, suite: Suite | None
) -> tuple[Asked, Corpus]:
    """What is asked, and the records that it is asked of."""
    if options.resume:
        asked = asked_before(folder, options.sites)
        corpus = study_corpus(prepared, suite, asked.groups)
        asked.check_corpus(folder, corpus.sha256)
    else:
        groups = prepared.config.evaluation.groups
        corpus = study_corpus(prepared, suite, groups)
        sites = None if options.sites is None else options.sites.resolve()
        asked = Asked(corpus_sha256=corpus.sha256, groups=groups, sites=sites)
    return asked.with_arms(options.arms), corpus


def _files(folder: RunFolder, asked: Asked, suite: Suite | None) -> dict[Path, str]:
    """A suite is kept when the run begins, and arms may be added later."""
    kept = {} if suite is None else {folder.suite: kept_text(suite)}
    return {asked_file(folder): asked.to_toml(), **kept}


def _cache(folder: RunFolder) -> Path:
    return folder.path / "cache"


def _train_arm(
    arm: TrainedArm, folder: RunFolder, executor: Executor, progress: Progress
) -> Adapter:
    home = RunFolder(folder.path / "arms" / arm.name)
    options = RunOptions(resume=begun_beside(home), cache=_cache(folder))
    return _train(arm.prepared, home, executor, progress, options)


def _train(
    prepared: Prepared,
    folder: RunFolder,
    executor: Executor,
    progress: Progress,
    options: RunOptions,
) -> Adapter:
    plan = prepared.plan
    who = folder.path.name if folder.path.parent.name == "arms" else "federation"
    progress.stage(f"train {who}, rounds", plan.rounds.total)

    def observe(number: int, _: Adapter, entry: RoundEntry | None) -> None:
        if entry is not None:
            progress.step(round_told(entry))
        elif number:
            progress.step(f"resumed after round {number}")

    observers = (observe, *options.observers)
    return run_federation(prepared, folder, executor, replace(options, observers=observers))


class _Clock:
    def __init__(self) -> None:
        self._start = self._last = time.monotonic()

    def lap(self) -> float:
        now = time.monotonic()
        elapsed, self._last = now - self._last, now
        return elapsed

    def since_start(self) -> float:
        return time.monotonic() - self._start
