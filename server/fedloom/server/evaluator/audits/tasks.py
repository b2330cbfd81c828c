"""Tasks of EleutherAI's lm-eval on the model that is loaded already, without the network."""

from collections.abc import Sequence
from importlib.util import find_spec

import numpy as np
from pydantic import Field

from fedloom.server.evaluator.audits.base import (
    Measured,
    Missing,
    Options,
    found_by,
    mean_figure,
    share_figure,
)
from fedloom.server.evaluator.audits.harness import Metric, offline, run
from fedloom.server.evaluator.audits.local_task import LocalTask
from fedloom.server.evaluator.corpus import Corpus
from fedloom.server.evaluator.findings import Better, Figure
from fedloom.server.evaluator.subject import Subject
from fedloom.shared.errors import EvaluationError


class TasksOptions(Options):
    """`tasks` are YAML files of lm-eval with records beside them."""

    tasks: tuple[LocalTask, ...] = Field(min_length=1)


class Tasks:
    """Every metric of every task that is a mean over records, as lm-eval computes it.

    Others (F1, perplexity) are named and left out: they would have no interval here. Prompts are
    plain text, as lm-eval's own; a task's few shots come from a fixed seed.
    """

    name = "lm-eval"
    title = "Public tasks (lm-eval)"
    asks = "How does it do on tasks that other models are measured with?"

    def __init__(self, options: TasksOptions) -> None:
        self._tasks = options.tasks

    def why_not(self, subject: Subject, corpus: Corpus) -> str:
        """A causal language model is needed, and the extra."""
        if not subject.causal:
            return "lm-eval's tasks are for causal language models alone"
        if find_spec("lm_eval") is None:
            return Missing("lm-eval is not installed, expected the extra fedloom[lm-eval]")
        return ""

    def measure(self, subject: Subject, corpus: Corpus) -> Measured:
        """One figure for each metric of each task, which can be compared in pairs.

        Raises:
            EvaluationError: a task has changed since the suite was read.
        """
        for task in self._tasks:
            task.check_unchanged()
        configs = [offline(task) for task in self._tasks]
        _refuse_twins([str(config["task"]) for config in configs])
        metrics = [metric for config in configs for metric in run(subject, config)]
        means = [metric for metric in metrics if metric.is_mean]
        findings = found_by(self).model_copy(
            update={
                "figures": tuple(_figure(metric) for metric in means),
                "caveats": tuple(
                    f"{metric.key} is left out: it is no mean over records."
                    for metric in metrics
                    if not metric.is_mean
                ),
                "sources": ("EleutherAI, Language Model Evaluation Harness",),
            }
        )
        return Measured(findings=findings, samples={one.key: one.values for one in means})


def _refuse_twins(names: Sequence[str]) -> None:
    for name in names:
        if names.count(name) > 1:
            raise EvaluationError(f"lm-eval: two tasks are called {name}, expected different names")


def _figure(metric: Metric) -> Figure:
    better: Better = "higher" if metric.higher_is_better else "lower"
    words = f"{metric.name} of the task {metric.task}"
    if np.isin(metric.values, (0, 1)).all():
        return share_figure(metric.key, words, metric.values, better=better)
    return mean_figure(metric.key, words, metric.values, better=better, unit="score")
