"""lm-eval as an audit needs it: one task on a loaded model, and each metric by record."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from fedloom.server.evaluator.audits.local_task import LocalTask, rows_of
from fedloom.server.evaluator.audits.plain_config import columns_of
from fedloom.server.evaluator.statistics import Values
from fedloom.server.evaluator.subject import Subject
from fedloom.shared.errors import BrokenModelError, DataError, EvaluationError

Config = Mapping[str, object]
# What lm-eval says of one record through one filter.
Sample = Mapping[str, object]


@dataclass(frozen=True, kw_only=True)
class Metric:
    """One metric of a task, as `whole` and by record, in the order of the task's records.

    `values` are empty where lm-eval gives a record something else than a number.
    """

    task: str
    name: str
    higher_is_better: bool
    whole: float
    values: Values

    @property
    def key(self) -> str:
        """Its name as a figure's key."""
        return f"{self.task}_{self.name}"

    @property
    def is_mean(self) -> bool:
        """Whether the whole is the mean over records."""
        return self.values.size > 0 and bool(np.isclose(self.values.mean(), self.whole))


def offline(task: LocalTask) -> Config:
    """The task's config with its records in place of where they lie.

    Raises:
        DataError: the records cannot be read, or lack a column that a template names.
    """
    from datasets import Dataset

    config = task.config()
    splits = {split: Dataset.from_list(rows_of(file)) for split, file in task.files(config).items()}
    for split, rows in splits.items():
        for name in sorted(columns_of(config) - set(rows.column_names)):
            raise DataError(f"{task.path}: no column {name} in the records of {split}")
    return {
        "num_fewshot": 0,
        **config,
        "dataset_kwargs": {},
        "custom_dataset": lambda **_: splits,
    }


def run(subject: Subject, config: Config) -> Iterator[Metric]:
    """Every metric of a task on the subject's model, through each of the task's filters.

    Raises:
        EvaluationError: a metric that lm-eval would have to fetch.
        BrokenModelError: answers that are no numbers.
    """
    from lm_eval.evaluator import evaluate
    from lm_eval.models.huggingface import HFLM
    from lm_eval.tasks import TaskManager

    _refuse_unknown_metrics(config)
    model, tokenizer = subject.scorer.model, subject.scorer.tokenizer
    reader = HFLM(pretrained=model, tokenizer=tokenizer, batch_size=subject.scorer.batch_size)
    loaded = TaskManager(include_defaults=False).load([dict(config)])
    for task in loaded["tasks"].values():
        task.set_fewshot_seed(seed=0)
    found = evaluate(lm=reader, task_dict=loaded, bootstrap_iters=0, log_samples=True)
    name = str(config["task"])
    higher = found["higher_is_better"][name]
    for key, whole in found["results"][name].items():
        metric, comma, through = key.partition(",")
        if comma and not metric.endswith("_stderr"):
            rows = [row for row in found["samples"][name] if row["filter"] == through]
            yield Metric(
                task=name,
                name=metric if through == "none" else f"{metric}_{through}",
                higher_is_better=bool(higher.get(metric, True)),
                whole=float(whole),
                values=_by_record(rows, metric),
            )


def _by_record(rows: Sequence[Sample], metric: str) -> Values:
    ordered = sorted(rows, key=lambda row: int(str(row["doc_id"])))
    for row in ordered:
        _check_finite(row["resps"])
    values = [row.get(metric) for row in ordered]
    numbers = [float(value) for value in values if isinstance(value, int | float)]
    return np.array(numbers if len(numbers) == len(values) else [], dtype=np.float64)


def _check_finite(answers: object) -> None:
    if isinstance(answers, list | tuple):
        for answer in answers:
            _check_finite(answer)
    elif isinstance(answers, float) and not np.isfinite(answers):
        raise BrokenModelError("lm-eval: likelihoods are not finite (NaN or infinite logits)")


def _refuse_unknown_metrics(config: Config) -> None:
    """Those that lm-eval does not know by itself it would look for on the network."""
    from lm_eval.api.metrics import mean  # noqa: F401  registers all of them
    from lm_eval.api.registry import METRIC_REGISTRY

    wanted = config.get("metric_list")
    for entry in wanted if isinstance(wanted, list) else []:
        name = entry.get("metric") if isinstance(entry, dict) else entry
        fetched = isinstance(entry, dict) and entry.get("hf_evaluate")
        if fetched or name not in METRIC_REGISTRY:
            raise EvaluationError(
                f"lm-eval, task {config['task']}: metric {name}, expected one that lm-eval has "
                "by itself"
            )
