"""Texts a second: FedLoom's evaluator against a plain Hugging Face pipeline, batch for batch.

The same adapter on the same encoder reads the same held-out sentences with the same batch size,
in turn, on one thread. The pipeline takes texts in the order that it gets them and pads each
batch to its longest; the evaluator sorts them by length first, its tokenizing included. Both must
say the same, to five digits, or nothing is printed.

    python -m benchmarks.evaluation [--records 1000] [--batch 16 64] [--repeats 5]
"""

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray
from transformers import AutoModelForSequenceClassification, AutoTokenizer, pipeline

from benchmarks.cases import demo_config
from benchmarks.common import in_turn, medians, parser_of, print_table, ratios, write_json
from fedloom.server.evaluator.bench import folder_bench
from fedloom.server.evaluator.subject import Candidate, Subject
from fedloom.server.initial import initial_adapter, save_adapter
from fedloom.shared.config.federation import read_federation
from fedloom.simulation.prepare import Prepared, prepare

WAYS = PIPELINE, EVALUATOR = "transformers pipeline", "fedloom evaluator"


def main() -> None:
    parser = parser_of(__doc__, json_name="evaluation.json")
    parser.add_argument("--records", type=int, default=1000)
    parser.add_argument("--batch", type=int, nargs="+", default=[16, 64])
    asked = parser.parse_args()
    prepared = _prepared()
    texts = [record.text for records in prepared.tests.values() for record in records]
    texts = texts[:: max(1, len(texts) // asked.records)][: asked.records]
    with TemporaryDirectory() as scratch:
        folder = Path(scratch) / "adapter"
        adapter = initial_adapter(prepared.plan, prepared.model)
        save_adapter(prepared.plan, prepared.model, adapter, target=folder)
        found = [_measured(prepared, folder, texts, size, asked.repeats) for size in asked.batch]
    print_table(
        ("batch", *WAYS, "ratio"),
        [
            (
                str(row["batch"]),
                f"{row[PIPELINE]:.0f}/s",
                f"{row[EVALUATOR]:.0f}/s",
                f"{row['ratio']:.2f}",
            )
            for row in found
        ],
    )
    write_json(asked.json, found)


def _prepared() -> Prepared:
    """The demo's federation, with the head that a pipeline can use."""
    config = read_federation(demo_config())
    task = config.task.model_copy(update={"pooling": "model"})
    return prepare(config.model_copy(update={"task": task}))


def _measured(
    prepared: Prepared, folder: Path, texts: list[str], batch: int, repeats: int
) -> dict[str, float]:
    subject = _subject(prepared, folder, batch)
    plain = _plain(prepared, folder, batch)
    works = {
        PIPELINE: lambda: _by_pipeline(plain, texts, batch),
        EVALUATOR: lambda: subject.classify(texts),
    }
    if not np.allclose(works[PIPELINE](), works[EVALUATOR](), atol=1e-5):
        raise SystemExit("the two do not say the same")
    times = in_turn(works, repeats=repeats)
    seconds = medians(times)
    return {
        "batch": batch,
        PIPELINE: len(texts) / seconds[PIPELINE],
        EVALUATOR: len(texts) / seconds[EVALUATOR],
        "ratio": 1 / ratios(times, to=PIPELINE)[EVALUATOR],
    }


def _subject(prepared: Prepared, folder: Path, batch: int) -> Subject:
    bench, adapter = folder_bench(folder, prepared.model, batch_size=batch)
    return bench.subject(Candidate(name="adapter", kind="release", description="", adapter=adapter))


def _plain(prepared: Prepared, folder: Path, batch: int) -> object:
    from peft import PeftModel

    labels = prepared.config.task.labels
    base = AutoModelForSequenceClassification.from_pretrained(
        prepared.model, num_labels=len(labels), id2label=dict(enumerate(labels))
    )
    return pipeline(
        "text-classification",
        model=PeftModel.from_pretrained(base, folder).eval(),
        tokenizer=AutoTokenizer.from_pretrained(prepared.model),
        top_k=None,
    )


def _by_pipeline(plain: object, texts: list[str], batch: int) -> NDArray[np.float64]:
    said = plain(texts, batch_size=batch, truncation=True, max_length=128)
    return np.array(
        [[one["score"] for one in sorted(row, key=lambda one: one["label"])] for row in said]
    )


if __name__ == "__main__":
    main()
