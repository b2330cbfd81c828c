"""The model card: `README.md` as the Hugging Face hub reads it (Mitchell et al. 2019)."""

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

from fedloom.server.evaluator.findings import Figure
from fedloom.server.release.card_text import card_text
from fedloom.server.release.contents import Contents
from fedloom.server.release.decision import Decision
from fedloom.shared.errors import ReleaseError
from fedloom.shared.model.card import hub_id

if TYPE_CHECKING:
    from huggingface_hub import EvalResult, ModelCardData

CARD = "README.md"
_LIBRARY = "peft"
_PIPELINES: Mapping[str, str] = MappingProxyType(
    {
        "classification": "text-classification",
        "causal-lm": "text-generation",
        "seq2seq": "text2text-generation",
    }
)
# The hub's names of metrics, where they are other than an audit's.
_METRICS: Mapping[str, str] = MappingProxyType({"macro_f1": "f1", "ece": "expected_calibration"})
# Figures of this audit, and these of others, are a model's results on the hub.
_VALIDATION = "validation"
_MORE = frozenset({("calibration", "ece")})


def render_card(contents: Contents, decision: Decision) -> bytes:
    """Front matter that `huggingface_hub.ModelCard` reads, and the card for people."""
    front = _front(contents).to_yaml(line_break="\n")
    return f"---\n{front.strip()}\n---\n\n{card_text(contents, decision)}".encode()


def check_card(content: bytes, contents: Contents) -> None:
    """Make sure that a card's front matter is one, and of this adapter's base model.

    Raises:
        ReleaseError: it is not.
    """
    from huggingface_hub import ModelCard
    from yaml import YAMLError

    try:
        data = ModelCard(content.decode()).data
    except (YAMLError, ValueError, TypeError, KeyError, RecursionError) as error:
        raise ReleaseError(f"{CARD}: its front matter is none, expected a model card's") from error
    wanted = {"library_name": _LIBRARY, "base_model": hub_id(contents.plan.model.name)}
    if any(data.get(key) != value for key, value in wanted.items()):
        raise ReleaseError(f"{CARD}: its front matter names another base model or library")


def _front(contents: Contents) -> "ModelCardData":
    from huggingface_hub import ModelCardData

    plan, results = contents.plan, list(_results(contents))
    privacy = ["differential-privacy"] if plan.privacy.protects else []
    return ModelCardData(
        library_name=_LIBRARY,
        base_model=hub_id(plan.model.name),
        license=contents.terms.licence,
        pipeline_tag=_PIPELINES[plan.task.kind],
        tags=["fedloom", "lora", "federated-learning", *privacy],
        metrics=list(dict.fromkeys(each.metric_type for each in results)) or None,
        model_name=plan.name,
        eval_results=results or None,
    )


def _results(contents: Contents) -> Iterator["EvalResult"]:
    audits = contents.evaluation.subject.audits if contents.evaluation else ()
    for findings in audits:
        for figure in findings.figures:
            if findings.audit == _VALIDATION or (findings.audit, figure.key) in _MORE:
                yield _result(contents, figure)


def _result(contents: Contents, figure: Figure) -> "EvalResult":
    from huggingface_hub import EvalResult

    more = {"low": figure.low, "high": figure.high, "records": figure.records}
    held_out = contents.evaluation is not None and contents.evaluation.held_out
    return EvalResult(
        task_type=_PIPELINES[contents.plan.task.kind],
        dataset_type=contents.plan.name,
        dataset_name=f"{'held-out records' if held_out else 'records'} of {contents.plan.name}",
        metric_type=_METRICS.get(figure.key, figure.key),
        metric_name=figure.words,
        metric_value=figure.value,
        metric_args={name: value for name, value in more.items() if value is not None},
    )
