"""The site's service: check, charge, measure, train, seal, release, in that order."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from fedloom.client.answering import Told, nobody
from fedloom.client.ledger.entries import Charge, charge_of
from fedloom.client.ledger.ledger import Ledger
from fedloom.client.ledger.spending import Spent
from fedloom.client.site.approvals import Approvals
from fedloom.client.site.budget import budget_of
from fedloom.client.site.config import SiteConfig
from fedloom.client.site.examples import SiteExamples
from fedloom.client.site.link import Link
from fedloom.client.site.measuring import held_out_sums, release
from fedloom.client.site.opening import approvals_of, ledger_of, link_of
from fedloom.client.site.policy.asked import Asked, Facts
from fedloom.client.site.policy.document import MANUAL, Policy
from fedloom.client.site.policy.rules import check_task
from fedloom.client.training.passed_checks import PassedChecks
from fedloom.client.training.pool import TrainerPool
from fedloom.client.training.randomness import Stream, task_stream
from fedloom.client.training.trainer import Trainer
from fedloom.shared.privacy.accounting import ACCOUNTANTS
from fedloom.shared.wire.envelope import Envelope
from fedloom.shared.wire.frame import Frame
from fedloom.shared.wire.heads import LedgerHead
from fedloom.shared.wire.messages import (
    AdapterUpdate,
    DeclaredBudget,
    HeldOut,
    TrainTask,
)


class SiteService:
    """Answers train tasks for one site's records.

    Guarantee: for each privacy unit of the site's records, the sequence of all frames that
    `train` ever returns is (epsilon, delta)-differentially private under adding or removing one
    unit, with the epsilon of everything in the ledger, provided that each plan is private and
    unseeded. The charge is durable before any noised value exists; the same task is answered
    by the same bytes and charged once; after a failure it is tried again with the same draws.
    Refusals depend on settings, policy, approvals and ledger alone, never on
    a record; a row that is no record is left out. A metric leaves only within an update, in the
    rounds of a plan that the policy allows it to, and is charged with it. Assumes Poisson
    sampling and noise as `Trainer` guarantees them, and that the state folder is kept.
    """

    def __init__(
        self,
        config: SiteConfig,
        policy: Policy,
        trainers: TrainerPool,
        *,
        check_held: Callable[[], None] = lambda: None,
    ) -> None:
        """`check_held` refuses once the site's files are not the ones that its process holds."""
        self._config = config
        self._check_held = check_held
        self._policy = policy
        self._trainers = trainers
        self._ledger: Ledger = ledger_of(config)
        self._approvals: Approvals = approvals_of(config)
        self._link = link_of(config)
        self._examples = SiteExamples(config)
        self._checks = PassedChecks(config.state / "checks")

    @property
    def site(self) -> str:
        """The site's public name."""
        return self._config.name

    @property
    def link(self) -> Link | None:
        """The site's line to its coordinator, if it has one."""
        return self._link

    def budget(self) -> DeclaredBudget:
        """What the policy allows and the ledger has spent, for the coordinator to know.

        Raises:
            LedgerError: the ledger is not whole.
        """
        return budget_of(self._config, self._policy, self._ledger.spent())

    def train(
        self, task: TrainTask, *, remembered: LedgerHead | None = None, told: Told = nobody
    ) -> Envelope:
        """The update for `task`, as a sealed frame, and the head of the ledger that holds it.

        `remembered` is the head of this site's ledger that the coordinator saw last.

        Raises:
            SiteRefusal: policy, budget, a busy dataset, a round that was answered already, or a
                ledger that is older than `remembered`.
            TrainingError, DataError, ModelError: the site cannot train; nothing left it.
            LedgerError: the ledger is not whole.
        """
        with self._ledger.held():
            if remembered is not None:
                self._ledger.check_remembered(remembered)
            sealed = self._ledger.sealed(task)
            if sealed is not None and not task.plan.privacy.protects:
                # No noise covers it: a policy that has become stricter since holds for it too.
                self._check(task)
            frame = sealed if sealed is not None else self._train_new(task, told)
            if task.round == task.plan.rounds.total:
                self._examples.drop_hidden()
            return Envelope(frame=frame, head=self._ledger.head())

    def _train_new(self, task: TrainTask, told: Told) -> Frame:
        self._check(task)
        told("checked")
        trainer = self._trainers.trainer(
            task.plan,
            task.round,
            self._config.model,
            device=self._config.compute.device,
            checks=self._checks,
        )
        trainer.load(task.adapter)
        charge = charge_of(task)
        # Before a record is read: whether that fails may depend on what they hold.
        self._ledger.reserve(charge)
        told("charged")
        frame = self._trained(task, trainer, charge)
        # What was just read is another service's if the file was replaced meanwhile.
        self._check_held()
        self._ledger.seal(charge, frame)
        told("sealed")
        return frame

    def _check(self, task: TrainTask) -> None:
        facts = Facts(
            model_sha256=self._trainers.fingerprint(self._config.model),
            spent=self._ledger.spent(but_task=task.sha256),
        )
        check_task(Asked(task=task, config=self._config, policy=self._policy, facts=facts))
        if self._policy.approval.mode == MANUAL:
            self._approvals.check(task.plan, self._ledger.signer().public)

    def _trained(self, task: TrainTask, trainer: Trainer, charge: Charge) -> Frame:
        stream = task_stream(task, self._ledger.draw_key(charge))
        with self._trainers.dropped_on_error():
            # Measured is what the round starts from: training moves it.
            held_out = self._measured(task, trainer, charge, stream)
            delta = self._change(task, trainer, stream)
        spent = self._ledger.spent()
        update = AdapterUpdate(
            plan_sha256=task.plan.sha256,
            site=task.site,
            round=task.round,
            layout_sha256=trainer.trained.sha256,
            delta=delta,
            steps_spent=spent.steps,
            epsilon_spent=_epsilon(task, spent),
            held_out=held_out,
        )
        return update.pack()

    def _measured(
        self, task: TrainTask, trainer: Trainer, charge: Charge, stream: Stream
    ) -> HeldOut | None:
        """The metric that the round was charged for, with the noise that it was charged with."""
        if charge.metric_noise is None:
            return None
        sums = held_out_sums(self._examples.held_out(task.plan, trainer), trainer.right)
        drawn = stream.child("metric")
        return release(sums, noise_multiplier=charge.metric_noise, stream=drawn)

    def _change(self, task: TrainTask, trainer: Trainer, stream: Stream) -> NDArray[np.float32]:
        units = self._examples.units(task.plan, trainer)
        return trainer.train(
            task.plan.site(task.site),
            units,
            round_number=task.round,
            stream=stream,
            hidden=self._examples.hidden(task.plan, trainer, units),
        )


def _epsilon(task: TrainTask, spent: Spent) -> float | None:
    privacy = task.plan.privacy
    if not privacy.private:
        return None
    return ACCOUNTANTS[privacy.accountant](spent.history, privacy.delta)
