"""The suite of audits over a study's adapters: here, all sites' records are at hand."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from fedloom.server.evaluator.bench import Bench
from fedloom.server.evaluator.corpus import Corpus
from fedloom.server.evaluator.findings import Evaluation, SubjectKind
from fedloom.server.evaluator.of_run import RunEvaluator
from fedloom.server.evaluator.subject import Candidate
from fedloom.server.evaluator.suite import read_suite
from fedloom.server.run.folder import RunFolder
from fedloom.shared.adapter import Adapter
from fedloom.shared.data.records import Record, read_records
from fedloom.simulation.arms import ArmKind, TrainedArm
from fedloom.simulation.prepare import Prepared, source_of, split_of
from fedloom.simulation.progress import Progress

# A site alone is another question than the one that an audit asks, and takes as long.
_AUDITED: Mapping[ArmKind, SubjectKind] = MappingProxyType(
    {"non-private": "non-private", "mitigated": "mitigated"}
)


def study_corpus(prepared: Prepared) -> Corpus:
    """Held-out records, and where a suite may ask for them, those that sites train on.

    Raises:
        DataError: a site's records cannot be read.
    """
    config = prepared.config
    members = {} if config.evaluation.suite is None else _members(prepared)
    return Corpus(tests=prepared.tests, members=members, unit=config.privacy.unit)


def study_evaluator(
    prepared: Prepared, folder: RunFolder, bench: Bench, corpus: Corpus
) -> RunEvaluator | None:
    """The evaluator that the config asks for, None without a suite.

    Raises:
        ConfigError: the suite is wrong.
    """
    evaluation = prepared.config.evaluation
    if evaluation.suite is None:
        return None
    return RunEvaluator(
        folder=folder,
        plan=prepared.plan,
        bench=bench,
        suite=read_suite(evaluation.suite),
        corpus=corpus,
        every=evaluation.every,
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
    config, split = prepared.config, split_of(prepared.config)
    return {
        site.name: tuple(
            split.training(read_records(source_of(config, site), labels=config.task.labels))
        )
        for site in config.data.sites
    }
