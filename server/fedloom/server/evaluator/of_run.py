"""A suite over the adapters of one run: at its end, and after every k rounds if asked."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from fedloom.server.evaluator.audits.registry import AUDITS
from fedloom.server.evaluator.bench import Bench
from fedloom.server.evaluator.cache import FindingsCache, digest_of
from fedloom.server.evaluator.corpus import Corpus
from fedloom.server.evaluator.evaluation import Evaluation
from fedloom.server.evaluator.running import Base, Told, evaluate
from fedloom.server.evaluator.subject import Candidate
from fedloom.server.evaluator.suite import Suite
from fedloom.server.initial import federation_in_words, start_in_words
from fedloom.server.run.checkpoint import read_checkpoint
from fedloom.server.run.folder import RunFolder
from fedloom.server.run.journal import RoundEntry
from fedloom.shared.adapter import Adapter
from fedloom.shared.files import make_folder
from fedloom.shared.plan import Plan

FEDERATION = "federation"


@dataclass(frozen=True, kw_only=True)
class RunEvaluator:
    """What a run's adapters are evaluated with; findings are kept in the run's folder, so that
    none is measured twice. `every` 0 means at the end alone."""

    folder: RunFolder
    plan: Plan
    bench: Bench
    suite: Suite
    corpus: Corpus
    every: int = 0

    def at_end(self, others: Sequence[Candidate] = (), told: Told = lambda _: None) -> Evaluation:
        """Evaluate the final adapter beside the start and `others`, and write `evaluation.json`.

        Raises:
            EvaluationError: an adapter of another model, or answers that are no numbers.
            CheckpointError: the run has not ended, or a checkpoint is damaged.
        """
        candidates = [self.federation(self._checkpoint(self.plan.rounds.total)), self._start()]
        found = self._with_canaries(self._evaluated([*candidates, *others], told))
        found.write(self.folder.evaluation)
        return found

    def _with_canaries(self, found: Evaluation) -> Evaluation:
        """What `fedloom audit --for` added to an evaluation of the same adapter stays."""
        if not self.folder.evaluation.is_file():
            return found
        before = Evaluation.read(self.folder.evaluation).subject
        if before.adapter_sha256 != found.subject.adapter_sha256:
            return found
        asked = {one.audit for one in found.subject.audits}
        added = [one for one in before.audits if one.audit not in asked | set(AUDITS)]
        return found.with_audits(added)

    def observe(self, number: int, adapter: Adapter, entry: RoundEntry | None) -> None:
        """After every k-th round: a file of its own, once, whatever resumes."""
        if entry is not None and self.every and number % self.every == 0:
            self._after(number, adapter)

    def after_round(self, number: int) -> None:
        """The same of the adapter that a round left.

        Raises:
            CheckpointError: there is no such round, or it is damaged.
            EvaluationError: answers that are no numbers.
        """
        self._after(number, self._checkpoint(number))

    def _after(self, number: int, adapter: Adapter) -> None:
        target = self.folder.evaluations / f"round-{number:04d}.json"
        if not target.exists():
            self._evaluated([self.federation(adapter)], lambda _: None).write(target)

    def federation(self, adapter: Adapter) -> Candidate:
        """The run's own adapter."""
        return Candidate(
            name=FEDERATION,
            kind="federation",
            description=federation_in_words(self.plan),
            adapter=adapter,
            epsilon=self.plan.promised_epsilon,
        )

    def _start(self) -> Candidate:
        return Candidate(
            name="base",
            kind="base",
            description=start_in_words(self.plan),
            adapter=self._checkpoint(0),
        )

    def _checkpoint(self, number: int) -> Adapter:
        return read_checkpoint(self.folder.checkpoints, number, self.plan.sha256)

    def _evaluated(self, candidates: Sequence[Candidate], told: Told) -> Evaluation:
        make_folder(self.folder.evaluations)
        return evaluate(
            self.suite,
            self.bench,
            candidates,
            self.corpus,
            base=Base(name=self.plan.model.described, sha256=self.plan.model.sha256),
            cache=self._cache,
            told=told,
        )

    @cached_property
    def _cache(self) -> FindingsCache:
        return FindingsCache(
            self.folder.evaluations / "kept",
            model_sha256=self.plan.model.sha256,
            corpus_sha256=self.corpus.sha256,
            about=digest_of(
                self.plan.model.model_dump(mode="json"),
                self.plan.task.model_dump(mode="json"),
                self.plan.lora.model_dump(mode="json"),
            ),
        )
