"""Decoders that go on with a text: Llama, GPT-2 and their kin."""

from collections.abc import Sequence
from pathlib import Path

import torch

from fedloom.shared.config.sections import Quantization
from fedloom.shared.data.records import Record
from fedloom.shared.model.base import BaseModel, Tokenizer
from fedloom.shared.model.loading import load_causal
from fedloom.shared.tasks.base import Batch, Example, padded
from fedloom.shared.tasks.generation import NO_TOKEN
from fedloom.shared.tasks.rendering import Rendered, render


class CausalForm:
    """The answer follows the prompt in one row. Padded on the left, so that all answers end
    together and the head computes logits at their places alone."""

    def load(self, folder: Path, quantization: Quantization) -> BaseModel:
        """With its own language-model head, tied or not."""
        return load_causal(folder, quantization)

    def rendered(self, records: Sequence[Record], tokenizer: Tokenizer) -> list[Rendered]:
        """In the model's chat template, if it has one."""
        return render(records, tokenizer)

    def example(self, rendered: Rendered, *, label: int, limit: int) -> Example:
        """At least one token of the prompt stays, for the answer to follow."""
        answer = rendered.answer[: limit - 1]
        # A model without a beginning mark may have been asked nothing at all.
        prompt = (rendered.prompt or (0,))[-(limit - len(answer)) :]
        return Example(tokens=prompt + answer, label=label, answer=answer)

    def with_answer(self, example: Example, answer: tuple[int, ...], limit: int) -> Example:
        """The same prompt with another answer."""
        prompt = example.tokens[: len(example.tokens) - len(example.answer)]
        return self.example(
            Rendered(prompt=prompt, answer=answer), label=example.label, limit=limit
        )

    def collate(self, examples: Sequence[Example], tokenizer: Tokenizer) -> Batch:
        """Rows end together; positions count from each row's own beginning."""
        width = padded(max(len(example.answer) for example in examples))
        # The first token of an answer is said one place before it.
        length = padded(max(width + 1, *(len(example.tokens) for example in examples)))
        ids = torch.zeros((len(examples), length), dtype=torch.long)
        real, labels = torch.zeros_like(ids), torch.full((len(examples), width), NO_TOKEN)
        for row, example in enumerate(examples):
            ids[row, length - len(example.tokens) :] = torch.tensor(example.tokens)
            real[row, length - len(example.tokens) :] = 1
            labels[row, width - len(example.answer) :] = torch.tensor(example.answer)
        positions = (real.cumsum(dim=1) - 1).clamp_min(0)
        inputs = {"input_ids": ids, "attention_mask": real, "position_ids": positions}
        return Batch(inputs=inputs, labels=labels)

    def logits(self, model: torch.nn.Module, batch: Batch) -> torch.Tensor:
        """Of the answers' places alone: the head is a large part of a small model."""
        width = batch.labels.shape[1]
        out = model(**batch.inputs, logits_to_keep=width + 1).logits
        # Some models compute all of them whatever they are asked.
        found: torch.Tensor = out[:, -width - 1 : -1]
        return found
