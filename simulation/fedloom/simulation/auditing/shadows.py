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
from fedloom.simulation.auditing.canaries import Dealt
from fedloom.simulation.auditing.lira import Seen
from fedloom.simulation.auditing.scores import losses
from fedloom.simulation.auditing.training import Training
from fedloom.simulation.prepare import Prepared

FOLDER = "shadows"
# To compare with and without a canary takes one each.
_LEAST_SHADOWS = 2
# Texts and coins of the audited run are streams 0 and 1 of the audit's seed.
_STREAM = 2


def check_shadows(count: int) -> None:
    """Make sure that as many shadow runs are of use.

    Raises:
        EvaluationError: they are too few to compare.
    """
    if count != 0 and count < _LEAST_SHADOWS:
        raise EvaluationError(
            f"privacy audit: {count} shadow runs, expected 0 or at least {_LEAST_SHADOWS}"
        )


def run_shadows(
    prepared: Prepared,
    dealt: Dealt,
    folder: RunFolder,
    training: Training,
    *,
    count: int,
    seed: int,
) -> Seen:
    """Train `count` federations beside the audited one in `folder`, and score its canaries under
    every final adapter.

    Each is an ordinary run in `shadows/N` of the folder, with ledgers of its own, the same start
    and the same canaries. Coins are its own, and so is the noise: an attacker who had seen the
    very noise of the audited run could take it away.

    Raises:
        BrokenModelError: a model's answers are no numbers.
        FedLoomError: as `run_federation`.
    """
    runs = list(_others(prepared, dealt, count=count, seed=seed))
    folders = [RunFolder(folder.path / FOLDER / str(number + 1)) for number in range(count)]
    for number, ((federation, coins), home) in enumerate(zip(runs, folders, strict=True), start=1):
        training.run(federation, coins, home, stage=f"shadow run {number} of {count}")
    scores = _scores(prepared, dealt, [folder, *folders])
    inside = np.stack([coins.inside for _, coins in runs])
    return Seen(scores=scores[0], shadows=scores[1:], inside=inside)


def _others(
    prepared: Prepared, dealt: Dealt, *, count: int, seed: int
) -> Iterator[tuple[Prepared, Dealt]]:
    """Each shadow run's federation and coins: the first are the same however many follow."""
    for number in range(count):
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
    """Of each canary under the final adapter in each folder, shape (folders, canaries)."""
    plans = [folder.read_plan() for folder in folders]
    batch_size = prepared.config.evaluation.batch_size
    bench = plan_bench(plans[0], prepared.model, batch_size=batch_size)
    finals = (
        read_checkpoint(folder.checkpoints, plan.rounds.total, plan.sha256)
        for folder, plan in zip(folders, plans, strict=True)
    )
    return np.stack([confidence(losses(bench, final, dealt.canaries)) for final in finals])
