"""Encoder and decoder: the T5 family."""

from collections.abc import Sequence
from pathlib import Path

import torch

from fedloom.shared.config.sections import Quantization
from fedloom.shared.data.records import Record
from fedloom.shared.model.base import BaseModel, Tokenizer
from fedloom.shared.model.loading import load_seq2seq
from fedloom.shared.tasks.base import Batch, Example, padded
from fedloom.shared.tasks.generation import NO_TOKEN
from fedloom.shared.tasks.rendering import Rendered

# Shown to the decoder before the first token of an answer, and where an answer has ended.
_START = 0


class Seq2SeqForm:
    """The encoder reads the prompt, the decoder says the answer."""

    def load(self, folder: Path, quantization: Quantization) -> BaseModel:
        """With its own language-model head."""
        return load_seq2seq(folder, quantization)

    def rendered(self, records: Sequence[Record], tokenizer: Tokenizer) -> list[Rendered]:
        """As the tokenizer writes a text: these models have no chat template."""
        if not records:
            return []
        asked = ["\n".join(turn.content for turn in record.turns) for record in records]
        prompts = tokenizer(asked)["input_ids"]
        answers = tokenizer([record.answer for record in records])["input_ids"]
        both = zip(prompts, answers, strict=True)
        return [Rendered(prompt=tuple(p), answer=tuple(a)) for p, a in both]

    def example(self, rendered: Rendered, *, label: int, limit: int) -> Example:
        """Prompt and answer each have the whole limit."""
        prompt = rendered.prompt[-limit:] or (0,)
        return Example(tokens=prompt, label=label, answer=rendered.answer[:limit])

    def with_answer(self, example: Example, answer: tuple[int, ...], limit: int) -> Example:
        """The same prompt with another answer."""
        return Example(tokens=example.tokens, label=example.label, answer=answer[:limit])

    def collate(self, examples: Sequence[Example], tokenizer: Tokenizer) -> Batch:
        """The decoder reads the answer one place late."""
        length = padded(max(len(example.tokens) for example in examples))
        width = padded(max(len(example.answer) for example in examples))
        ids = torch.zeros((len(examples), length), dtype=torch.long)
        real, labels = torch.zeros_like(ids), torch.full((len(examples), width), NO_TOKEN)
        heard = torch.full_like(labels, _START)
        for row, example in enumerate(examples):
            ids[row, : len(example.tokens)] = torch.tensor(example.tokens)
            real[row, : len(example.tokens)] = 1
            labels[row, : len(example.answer)] = torch.tensor(example.answer)
            heard[row, 1 : len(example.answer)] = torch.tensor(example.answer[:-1])
        inputs = {"input_ids": ids, "attention_mask": real, "decoder_input_ids": heard}
        return Batch(inputs=inputs, labels=labels)

    def logits(self, model: torch.nn.Module, batch: Batch) -> torch.Tensor:
        """At every place of the decoder."""
        found: torch.Tensor = model(**batch.inputs).logits
        return found
