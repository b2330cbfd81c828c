"""Shadow runs: the audited federation again with other coins, which show how much being in changes
each canary."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from fedloom.server.evaluator.bench import plan_bench
from fedloom.server.evaluator.privacy.membership import confidence
from fedloom.server.evaluator.statistics import Values
from fedloom.server.run.checkpoint import read_checkpoint
from fedloom.server.run.folder import RunFolder
from fedloom.shared.errors import EvaluationError
from fedloom.shared.words import count
from fedloom.simulation.auditing.canaries import Dealt
from fedloom.simulation.auditing.lira import Seen
from fedloom.simulation.auditing.scores import centred, losses
from fedloom.simulation.auditing.training import Training
from fedloom.simulation.begun import begun_beside
from fedloom.simulation.federation import RunOptions
from fedloom.simulation.prepare import Prepared

FOLDER = "shadows"
# To compare with and without a canary takes one each.
_LEAST_SHADOWS = 2
# Texts and coins of the audited run are streams 0 and 1 of the audit's seed.
_STREAM = 2


def check_shadows(runs: int) -> None:
    """Make sure that as many shadow runs are of use.

    Raises:
        EvaluationError: they are too few to compare.
    """
    if runs != 0 and runs < _LEAST_SHADOWS:
        found = count(runs, "shadow run")
        raise EvaluationError(f"privacy audit: {found}, expected 0 or at least {_LEAST_SHADOWS}")


def run_shadows(
    prepared: Prepared,
    dealt: Dealt,
    folder: RunFolder,
    training: Training,
    *,
    runs: int,
    seed: int,
) -> Seen:
    """Train `runs` federations beside the audited one in `folder`, and score its canaries under
    every final adapter.

    Each is an ordinary run in `shadows/N` of the folder, with ledgers of its own, the same start
    and the same canaries. Coins are its own, and so is the noise: an attacker who had seen the
    very noise of the audited run could take it away. One that has begun goes on, and one that is
    finished is not trained again.

    Raises:
        BrokenModelError: a model's answers are no numbers.
        FedLoomError: as `run_federation`.
    """
    others = list(_others(prepared, dealt, runs=runs, seed=seed))
    folders = [RunFolder(folder.path / FOLDER / str(number + 1)) for number in range(runs)]
    for number, (federation, coins) in enumerate(others):
        stage = f"shadow run {number + 1} of {runs}"
        begun = RunOptions(resume=begun_beside(folders[number]))
        training.run(federation, coins, folders[number], begun, stage=stage)
    scores = _scores(prepared, dealt, [folder, *folders])
    inside = np.stack([coins.inside for _, coins in others])
    return Seen(scores=scores[0], shadows=scores[1:], inside=inside)


def _others(
    prepared: Prepared, dealt: Dealt, *, runs: int, seed: int
) -> Iterator[tuple[Prepared, Dealt]]:
    """Each shadow run's federation and coins: the first are the same however many follow."""
    for number in range(runs):
        generator = np.random.default_rng([seed, _STREAM, number])
        inside = generator.random(len(dealt.canaries)) < 0.5
        noise_seed = int(generator.integers(2**31))
        yield _with_noise(prepared, noise_seed), replace(dealt, inside=inside)


def _with_noise(prepared: Prepared, noise_seed: int) -> Prepared:
    """The federation with another seed where its noise is repeatable; without, noise is always
    new."""
    config = prepared.config
    if config.privacy.noise_seed is None:
        return prepared
    privacy = config.privacy.model_copy(update={"noise_seed": noise_seed})
    return replace(prepared, config=config.model_copy(update={"privacy": privacy}))


def _scores(prepared: Prepared, dealt: Dealt, folders: Sequence[RunFolder]) -> Values:
    """Of each canary under the final adapter in each folder, shape (folders, canaries).

    Less the mean of the label: runs differ in what they make of a label as a whole by more than
    by what they remember.
    """
    labels = [canary.label for canary in dealt.canaries]
    plans = [folder.read_plan() for folder in folders]
    batch_size = prepared.config.evaluation.batch_size
    bench = plan_bench(plans[0], prepared.model, batch_size=batch_size)
    finals = (
        read_checkpoint(folder.checkpoints, plan.rounds.total, plan.sha256)
        for folder, plan in zip(folders, plans, strict=True)
    )
    sure = (confidence(losses(bench, final, dealt.canaries)) for final in finals)
    return np.stack([centred(scores, labels) for scores in sure])
