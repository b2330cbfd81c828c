"""Scores every arm of a study on the same held-out records."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from fedloom.server.evaluator.evaluate import Evaluator
from fedloom.server.initial import federation_in_words, start_in_words
from fedloom.server.report.schema import Arm, CurvePoint
from fedloom.server.run.checkpoint import read_checkpoint
from fedloom.server.run.folder import RunFolder
from fedloom.shared.adapter import Adapter
from fedloom.shared.config.data import JOINT
from fedloom.simulation.arms import TrainedArm
from fedloom.simulation.prepare import Prepared
from fedloom.simulation.progress import Progress


@dataclass(frozen=True, kw_only=True)
class StudyScores:
    """All arms, and the federation's accuracy by round."""

    arms: tuple[Arm, ...]
    curve: tuple[CurvePoint, ...]


def score_study(
    prepared: Prepared,
    folder: RunFolder,
    final: Adapter,
    trained: Sequence[tuple[TrainedArm, Adapter]],
    evaluator: Evaluator,
    progress: Progress,
) -> StudyScores:
    """Score baselines, federation and trained arms; and the curve from the checkpoints."""
    plan, evaluation = prepared.plan, prepared.config.evaluation
    rounds = plan.rounds.milestones if evaluation.curve_records else ()
    progress.stage("score adapters", 3 + len(trained) + len(rounds))
    arms = []
    for arm in _arms(prepared, folder, evaluator, final, trained):
        arms.append(arm)
        progress.step(_told(arm))
    curve = []
    for number in rounds:
        adapter = read_checkpoint(folder.checkpoints, number, plan.sha256)
        limit = evaluation.curve_records
        curve.append(evaluator.curve_point(number, adapter, records=limit))
        progress.step(f"after round {number}: accuracy {curve[-1].accuracy:.3f}")
    return StudyScores(arms=tuple(arms), curve=tuple(curve))


def _arms(
    prepared: Prepared,
    folder: RunFolder,
    evaluator: Evaluator,
    final: Adapter,
    trained: Sequence[tuple[TrainedArm, Adapter]],
) -> Iterator[Arm]:
    plan = prepared.plan
    if plan.task.labels:
        yield Arm(
            name="majority",
            kind="majority",
            description="always the label most frequent in training",
            epsilon=None,
            tests=evaluator.majority(prepared.class_counts),
        )
    start = read_checkpoint(folder.checkpoints, 0, plan.sha256)
    yield Arm(
        name="untrained",
        kind="untrained",
        description=start_in_words(plan),
        epsilon=None,
        tests=evaluator.adapter(start),
    )
    yield Arm(
        name="federation",
        kind="federation",
        description=federation_in_words(plan),
        epsilon=plan.promised_epsilon,
        tests=evaluator.adapter(final),
    )
    for arm, adapter in trained:
        yield Arm(
            name=arm.name,
            kind=arm.kind,
            description=arm.description,
            epsilon=arm.prepared.plan.promised_epsilon,
            tests=evaluator.adapter(adapter),
        )


def _told(arm: Arm) -> str:
    joint = arm.tests[JOINT].accuracy
    return f"{arm.name}: accuracy {joint.value:.3f} [{joint.low:.3f}, {joint.high:.3f}]"
