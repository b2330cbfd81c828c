"""Scores an adapter folder alone, as anyone would load it: base model plus PEFT folder."""

from pathlib import Path

from fedloom.server.evaluator.metrics import labels_of, score
from fedloom.server.evaluator.scorer import Scorer
from fedloom.server.evaluator.units import Units
from fedloom.server.report.schema import Scores
from fedloom.shared.data.records import RecordSource, read_records
from fedloom.shared.errors import ModelError
from fedloom.shared.model.base import fingerprint
from fedloom.shared.model.card import AdapterCard
from fedloom.shared.model.lora import load_peft_folder
from fedloom.shared.tasks.registry import make_task

_BATCH_SIZE = 64


def load_scorer(adapter: Path, model: Path, *, batch_size: int = _BATCH_SIZE) -> Scorer:
    """The adapter folder on its base model, ready to score.

    Raises:
        ModelError: the folder was not made by FedLoom, or for another base model.
    """
    card = AdapterCard.read(adapter)
    found = fingerprint(model)
    if found != card.model_sha256:
        raise ModelError(
            f"model {model}: fingerprint {found[:12]}…, the adapter was made for "
            f"{card.model_name}, {card.model_sha256[:12]}…"
        )
    task = make_task(card.task)
    base = task.load(model, seed=0, quantization=card.quantization)
    return Scorer(
        task=task,
        model=load_peft_folder(base, adapter).eval(),
        tokenizer=base.tokenizer,
        max_length=card.max_length,
        batch_size=batch_size,
    )


def evaluate_folder(adapter: Path, model: Path, source: RecordSource, *, resamples: int) -> Scores:
    """Score every record of `source`, with intervals over its units.

    Raises:
        ModelError: as `load_scorer`.
        DataError: the records cannot be read.
    """
    scorer = load_scorer(adapter, model)
    labels = AdapterCard.read(adapter).task.labels
    records = read_records(source, labels=labels)
    examples = scorer.encode(records)
    return score(
        scorer.outcomes(examples),
        labels_of(examples),
        units=Units.of([records], unit=source.unit),
        resamples=resamples,
    )
