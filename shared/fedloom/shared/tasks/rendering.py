"""What a language model reads: a prompt and its answer, in the model's own chat template."""

from collections.abc import Sequence
from dataclasses import dataclass

from jinja2 import TemplateError

from fedloom.shared.data.records import Record
from fedloom.shared.model.base import Tokenizer

# What code of a template may raise on a record that its author did not think of.
_TEMPLATE_FAULTS = (TemplateError, ValueError, TypeError, LookupError, AttributeError)


@dataclass(frozen=True, kw_only=True)
class Rendered:
    """Token ids of a prompt, and of the answer with the mark that ends it."""

    prompt: tuple[int, ...]
    answer: tuple[int, ...]


def render(records: Sequence[Record], tokenizer: Tokenizer) -> list[Rendered]:
    """Prompt and answer of every record, tokenised apart, so that neither moves the other.

    With a chat template, what it puts around turns comes along; without one, the turns stand one
    a line and the answer ends with the model's end mark. A record that the template
    cannot say (a role it does not know) has no answer: it teaches nothing, and stops nobody.
    """
    if not records:
        return []
    if not getattr(tokenizer, "chat_template", None):
        return _plain(records, tokenizer)
    texts = [_said(record, tokenizer) for record in records]
    prompts = _ids([prompt for prompt, _ in texts], tokenizer)
    answers = _ids([answer for _, answer in texts], tokenizer)
    return [Rendered(prompt=p, answer=a) for p, a in zip(prompts, answers, strict=True)]


def _said(record: Record, tokenizer: Tokenizer) -> tuple[str, str]:
    turns = [{"role": turn.role, "content": turn.content} for turn in record.turns]
    answer = {"role": "assistant", "content": record.answer}
    try:
        prompt = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
        whole = tokenizer.apply_chat_template([*turns, answer], tokenize=False)
    except _TEMPLATE_FAULTS:
        return "", ""
    # A template that begins an answer otherwise than it asks for one has no such prefix.
    return (prompt, whole[len(prompt) :]) if whole.startswith(prompt) else ("", "")


def _plain(records: Sequence[Record], tokenizer: Tokenizer) -> list[Rendered]:
    asked = ["\n".join(turn.content for turn in record.turns) for record in records]
    prompts = [tuple(row) for row in tokenizer(asked)["input_ids"]]
    answers = _ids([f" {record.answer}" for record in records], tokenizer)
    end = () if tokenizer.eos_token_id is None else (tokenizer.eos_token_id,)
    return [Rendered(prompt=p, answer=a + end) for p, a in zip(prompts, answers, strict=True)]


def _ids(texts: list[str], tokenizer: Tokenizer) -> list[tuple[int, ...]]:
    return [tuple(row) for row in tokenizer(texts, add_special_tokens=False)["input_ids"]]
