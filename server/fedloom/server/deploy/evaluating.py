"""The suite of audits in a deployment: on the coordinator's own records and public benchmarks.

A suite that cannot be run ends no run: what the sites have trained is worth more than its
evaluation, which can be done again.
"""

from dataclasses import dataclass

from fedloom.server.deploy.events import EventLog
from fedloom.server.deploy.wanted import WantedRun
from fedloom.server.evaluator.bench import plan_bench
from fedloom.server.evaluator.corpus import Benchmarks, Corpus
from fedloom.server.evaluator.findings import Evaluation
from fedloom.server.evaluator.of_run import RunEvaluator
from fedloom.server.evaluator.records import read_corpus
from fedloom.server.evaluator.suite import read_suite
from fedloom.server.run.folder import RunFolder
from fedloom.server.run.journal import RoundEntry
from fedloom.shared.adapter import Adapter
from fedloom.shared.errors import FedLoomError


@dataclass(frozen=True, kw_only=True)
class DeployedEvaluation:
    """A wanted run's suite, if it has one. Faults become events of the run."""

    folder: RunFolder
    wanted: WantedRun

    def observe(self, number: int, adapter: Adapter, entry: RoundEntry | None) -> None:
        """After every k-th round."""
        if entry is None or not self.wanted.every or number % self.wanted.every:
            return
        try:
            evaluator = self._evaluator()
            if evaluator is not None:
                evaluator.observe(number, adapter, entry)
        except FedLoomError as error:
            self._note(error)

    def at_end(self) -> Evaluation | None:
        """Of the final adapter; None without a suite, or where it could not be run."""
        try:
            evaluator = self._evaluator()
            return None if evaluator is None else evaluator.at_end()
        except FedLoomError as error:
            self._note(error)
            return None

    def _evaluator(self) -> RunEvaluator | None:
        if self.wanted.suite is None:
            return None
        suite, plan = read_suite(self.wanted.suite), self.folder.read_plan()
        corpus = (
            Corpus(tests={})
            if suite.records is None
            else read_corpus(suite.records, labels=plan.task.labels, benchmarks=Benchmarks())
        )
        return RunEvaluator(
            folder=self.folder,
            plan=plan,
            bench=plan_bench(plan, self.wanted.model, batch_size=suite.batch_size),
            suite=suite,
            corpus=corpus,
            every=self.wanted.every,
        )

    def _note(self, error: FedLoomError) -> None:
        EventLog.of(self.folder).note("not-evaluated", str(error))
