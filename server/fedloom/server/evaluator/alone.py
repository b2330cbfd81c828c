"""A suite over adapter folders, away from any run: as anyone would load them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from fedloom.server.evaluator.bench import folder_bench
from fedloom.server.evaluator.cache import FindingsCache, digest_of
from fedloom.server.evaluator.corpus import Benchmarks, Corpus
from fedloom.server.evaluator.evaluation import Evaluation
from fedloom.server.evaluator.records import read_corpus
from fedloom.server.evaluator.running import Base, Told, evaluate
from fedloom.server.evaluator.sections import RecordsSection
from fedloom.server.evaluator.subject import Candidate
from fedloom.server.evaluator.suite import Suite
from fedloom.server.start import read_peft
from fedloom.shared.data.tables import read_table
from fedloom.shared.errors import EvaluationError
from fedloom.shared.files import make_folder
from fedloom.shared.model.card import AdapterCard

_SCALING = ("r", "lora_alpha", "use_rslora", "use_dora")


@dataclass(frozen=True, kw_only=True)
class Alone:
    """What to evaluate: an adapter folder on its base model, and folders to compare it with.

    `records` takes the place of the suite's own; `out` is where findings are kept.
    """

    adapter: Path
    model: Path
    out: Path
    against: Sequence[Path] = ()
    records: RecordsSection | None = None
    benchmarks: Benchmarks = field(default_factory=Benchmarks)


def evaluate_alone(asked: Alone, suite: Suite, told: Told = lambda _: None) -> Evaluation:
    """Run the suite, and write `evaluation.json`.

    Raises:
        ModelError: a folder was not made by FedLoom, or for another base model.
        EvaluationError: an adapter of another shape, or answers that are no numbers.
        DataError: the records cannot be read.
    """
    card = AdapterCard.read(asked.adapter)
    bench, adapter = folder_bench(asked.adapter, asked.model, batch_size=suite.batch_size)
    section = _section(asked.records, suite.records)
    corpus = (
        Corpus(tests={}, benchmarks=asked.benchmarks)
        if section is None
        else read_corpus(section, labels=card.task.labels, benchmarks=asked.benchmarks)
    )
    said, _ = read_peft(asked.adapter, called="adapter")
    others = [_other(folder, card, said) for folder in asked.against]
    first = Candidate(
        name=_called(asked.adapter),
        kind="release",
        description=f"adapter folder; privacy: {card.privacy}",
        adapter=adapter,
    )
    names = [first.name, *(other.name for other in others)]
    if len(set(names)) != len(names):
        raise EvaluationError(f"adapters {', '.join(names)}: expected folders of different names")
    if not asked.out.exists():
        make_folder(asked.out)
    found = evaluate(
        suite,
        bench,
        [first, *others],
        corpus,
        base=Base(name=card.model_name, sha256=card.model_sha256),
        cache=FindingsCache(
            asked.out / "kept",
            model_sha256=card.model_sha256,
            corpus_sha256=corpus.sha256,
            about=digest_of(card.model_dump(mode="json"), said),
        ),
        told=told,
    )
    found.write(asked.out / "evaluation.json")
    return found


def _section(given: RecordsSection | None, own: RecordsSection | None) -> RecordsSection | None:
    """The records that were given, by the suite's own unit if no other is said, and parted as its
    own records are, where they have such columns."""
    if given is None or own is None:
        return given or own
    there = read_table(given.path).columns
    return given.model_copy(
        update={
            "unit": given.unit or own.unit,
            "site": own.site if own.site in there else None,
            "groups": tuple(column for column in own.groups if column in there),
        }
    )


def _other(folder: Path, card: AdapterCard, ours_said: Mapping[str, object]) -> Candidate:
    theirs = AdapterCard.read(folder)
    said, adapter = read_peft(folder, called="adapter")
    # Values alone do not say how strongly LoRA is scaled.
    scaled_alike = all(said.get(key) == ours_said.get(key) for key in _SCALING)
    if not scaled_alike or theirs.model_sha256 != card.model_sha256 or theirs.task != card.task:
        raise EvaluationError(
            f"adapter {folder}: of another base model, task or kind of LoRA, expected one that "
            "can be compared"
        )
    return Candidate(
        name=_called(folder),
        kind="release",
        description=f"adapter folder; privacy: {theirs.privacy}",
        adapter=adapter,
    )


def _called(folder: Path) -> str:
    """A run's adapter folder is called as every other's; the run's name tells them apart."""
    whole = folder.resolve()
    return f"{whole.parent.name}/{whole.name}"
