"""The suite of audits over a study's adapters: here, all sites' records are at hand."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from fedloom.server.evaluator.bench import Bench
from fedloom.server.evaluator.corpus import Corpus
from fedloom.server.evaluator.evaluation import Evaluation, SubjectKind
from fedloom.server.evaluator.kept_suite import read_kept
from fedloom.server.evaluator.of_run import RunEvaluator
from fedloom.server.evaluator.records import group_values
from fedloom.server.evaluator.subject import Candidate
from fedloom.server.evaluator.suite import Suite, read_suite
from fedloom.server.run.folder import RunFolder
from fedloom.shared.adapter import Adapter
from fedloom.shared.config.data import SiteSection
from fedloom.shared.data.records import Record, read_records
from fedloom.shared.data.tables import read_table
from fedloom.simulation.arms import ArmKind, TrainedArm
from fedloom.simulation.prepare import Prepared, source_of, split_of
from fedloom.simulation.progress import Progress

# A site alone is another question than the one that an audit asks, and takes as long.
_AUDITED: Mapping[ArmKind, SubjectKind] = MappingProxyType(
    {"non-private": "non-private", "mitigated": "mitigated"}
)


def study_suite(prepared: Prepared, folder: RunFolder, *, resume: bool) -> Suite | None:
    """The suite that the config asks for, or that a run to be resumed began with; None without.

    Raises:
        ConfigError: the suite is wrong, or no longer what it was when the run began.
    """
    if resume:
        return read_kept(folder)
    asked = prepared.config.evaluation.suite
    return None if asked is None else read_suite(asked)


def study_corpus(prepared: Prepared, suite: Suite | None, groups: Sequence[str] = ()) -> Corpus:
    """Held-out records, and those that sites train on; and where a suite may ask for it, what
    `groups`, names of columns, say of each that is held out.

    Raises:
        DataError: a site's records cannot be read, or one held out has no value in such a column.
    """
    return Corpus(
        tests=prepared.tests,
        members=_members(prepared),
        groups={} if suite is None else _groups(prepared, groups),
        held_out=True,
        unit=prepared.config.privacy.unit,
    )


def study_evaluator(
    prepared: Prepared, folder: RunFolder, bench: Bench, corpus: Corpus, suite: Suite
) -> RunEvaluator:
    """What runs the suite over the study's adapters, also after rounds if the config says so."""
    return RunEvaluator(
        folder=folder,
        plan=prepared.plan,
        bench=bench,
        suite=suite,
        corpus=corpus,
        every=prepared.config.evaluation.every,
    )


def audit_study(
    evaluator: RunEvaluator,
    trained: Sequence[tuple[TrainedArm, Adapter]],
    progress: Progress,
) -> Evaluation:
    """Run the suite on the federation's adapter, its start, and the arms that belong beside it."""
    others = [
        Candidate(
            name=arm.name,
            kind=_AUDITED[arm.kind],
            description=arm.description,
            adapter=adapter,
            epsilon=arm.prepared.plan.promised_epsilon,
        )
        for arm, adapter in trained
        if arm.kind in _AUDITED
    ]
    progress.stage("audit adapters", (2 + len(others)) * len(evaluator.suite.audits))
    return evaluator.at_end(others, told=progress.step)


def _members(prepared: Prepared) -> dict[str, tuple[Record, ...]]:
    """What each site trained on."""
    split = split_of(prepared.config)
    return {
        site.name: tuple(split.training(_records(prepared, site)))
        for site in prepared.config.data.sites
    }


def _groups(prepared: Prepared, columns: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """By column its values, for held-out records alone: others may have none."""
    found: dict[str, list[str]] = {column: [] for column in columns}
    split = split_of(prepared.config)
    for site in prepared.config.data.sites if columns else ():
        rows = split.held_out_rows(_records(prepared, site))
        table = read_table(site.path)
        for column, values in found.items():
            values.extend(group_values(site.path, table, column, rows))
    return {column: tuple(values) for column, values in found.items()}


def _records(prepared: Prepared, site: SiteSection) -> list[Record]:
    config = prepared.config
    return read_records(source_of(config, site), labels=config.task.labels)
