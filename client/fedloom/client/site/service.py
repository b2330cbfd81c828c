"""The site's service: check, charge, train, seal, release, in that order."""

from fedloom.client.ledger.entries import charge_of
from fedloom.client.ledger.ledger import Ledger
from fedloom.client.site.config import SiteConfig
from fedloom.client.site.examples import SiteExamples
from fedloom.client.site.policy import Facts, check_task
from fedloom.client.training.passed_checks import PassedChecks
from fedloom.client.training.pool import TrainerPool
from fedloom.client.training.randomness import task_stream
from fedloom.shared.privacy.accounting import ACCOUNTANTS
from fedloom.shared.wire.frame import Frame
from fedloom.shared.wire.heads import LedgerHead
from fedloom.shared.wire.messages import AdapterUpdate, TrainTask


class SiteService:
    """Answers train tasks for one site's records.

    Guarantee: for each privacy unit of the site's records, the sequence of all frames that
    `train` ever returns is (epsilon, delta)-differentially private under adding or removing one
    unit, with the epsilon of everything in the ledger, provided that each plan is private and
    unseeded. The charge is durable before any noised value exists; the same task is answered
    by the same bytes and charged once; after a failure it is tried again with the same draws.
    Refusals depend on settings and ledger alone, never on
    a record; a row that is no record is left out. Assumes Poisson sampling and noise as
    `Trainer` guarantees them, and that the state folder is kept.
    """

    def __init__(self, config: SiteConfig, trainers: TrainerPool) -> None:
        self._config = config
        self._trainers = trainers
        self._ledger = Ledger(config.state)
        self._examples = SiteExamples(config)
        self._checks = PassedChecks(config.state / "checks")

    @property
    def config(self) -> SiteConfig:
        """The settings that this service enforces."""
        return self._config

    @property
    def site(self) -> str:
        """The site's public name."""
        return self._config.name

    @property
    def head(self) -> LedgerHead:
        """The head of the ledger, for the coordinator to remember."""
        return self._ledger.head()

    def train(self, task: TrainTask, *, remembered: LedgerHead | None = None) -> Frame:
        """The update for `task`, as a sealed frame.

        `remembered` is the head of this site's ledger that the coordinator saw last.

        Raises:
            SiteRefusal: policy, budget, a busy dataset, a round that was answered already, or a
                ledger that is older than `remembered`.
            TrainingError, DataError, ModelError: the site cannot train; nothing left it.
            LedgerError: the ledger is not whole.
        """
        with self._ledger.held(site=self.site):
            if remembered is not None:
                self._ledger.check_remembered(remembered)
            sealed = self._ledger.sealed(task)
            frame = sealed if sealed is not None else self._train_new(task)
            if task.round == task.plan.rounds.total:
                self._examples.drop_hidden()
            return frame

    def _train_new(self, task: TrainTask) -> Frame:
        before = self._ledger.spent(except_plan=task.plan.sha256)
        model_sha256 = self._trainers.fingerprint(self._config.model)
        check_task(task, self._config, Facts(model_sha256=model_sha256, spent=before))
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
        units = self._examples.units(task.plan, trainer)
        hidden = self._examples.hidden(task.plan, trainer)
        stream = task_stream(task, self._ledger.draw_key(charge))
        with self._trainers.dropped_on_error():
            delta = trainer.train(
                task.plan.site(task.site),
                units,
                round_number=task.round,
                stream=stream,
                hidden=hidden,
            )
        spent = self._ledger.spent()
        epsilon = None
        if task.plan.privacy.private:
            accountant = ACCOUNTANTS[task.plan.privacy.accountant]
            epsilon = accountant(spent.history, task.plan.privacy.delta)
        update = AdapterUpdate(
            plan_sha256=task.plan.sha256,
            site=task.site,
            round=task.round,
            layout_sha256=trainer.trained.sha256,
            delta=delta,
            steps_spent=spent.steps,
            epsilon_spent=epsilon,
        )
        frame = update.pack()
        self._ledger.seal(charge, frame)
        return frame
