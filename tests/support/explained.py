"""Classifiers whose reasons are known: a bag of words, and tiny encoders with a real adapter."""

from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace

import torch
from transformers import AutoTokenizer

from fedloom.server.evaluator.scorer import Scorer
from fedloom.server.evaluator.subject import Candidate, Subject
from fedloom.shared.config.sections import LoraSection, TaskSection
from fedloom.shared.model.lora import attach_lora, live_parameters, read_adapter
from fedloom.shared.tasks.registry import make_task
from tests.support.tiny import write_tiny_tokenizer

LABELS = ("negative", "positive")


class BagOfWords(torch.nn.Module):
    """Each token's embedding is read by one linear layer; a text is the mean over its tokens."""

    def __init__(self, vocabulary: int, *, width: int = 4, labels: int = 2) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.embedding = torch.nn.Embedding(vocabulary, width, padding_idx=0)
        self.head = torch.nn.Linear(width, labels)

    def get_input_embeddings(self) -> torch.nn.Module:
        return self.embedding

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> SimpleNamespace:
        return SimpleNamespace(logits=self.head(self.embedding(input_ids)))


def bag_subject(folder: Path, **options: int) -> Subject:
    """A random bag of words."""
    vocabulary = write_tiny_tokenizer(folder)
    task = TaskSection(labels=LABELS, pooling="mean")
    return _subject(task, BagOfWords(vocabulary, **options), AutoTokenizer.from_pretrained(folder))


def planted_subject(folder: Path, weights: Mapping[str, float], *, bias: float) -> Subject:
    """A bag of words in which a text's log-odds of `positive` are the mean over its tokens of
    their weights, plus `bias`; other words weigh nothing."""
    subject = bag_subject(folder, width=1)
    model, tokenizer = subject.scorer.model, subject.scorer.tokenizer
    assert isinstance(model, BagOfWords)
    with torch.no_grad():
        model.embedding.weight.zero_()
        for word, weight in weights.items():
            model.embedding.weight[tokenizer.convert_tokens_to_ids(word)] = weight  # type: ignore[attr-defined]
        model.head.weight.copy_(torch.tensor([[0.0], [1.0]]))
        model.head.bias.copy_(torch.tensor([0.0, bias]))
    return subject


def adapted_subject(
    folder: Path, *, pooling: str = "mean", targets: tuple[str, ...] = ()
) -> Subject:
    """A tiny encoder with LoRA on it, all weights large enough that answers differ."""
    task = TaskSection(labels=LABELS, pooling=pooling)
    base = make_task(task).load(folder, seed=0)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in base.model.parameters():
            if parameter.ndim == 2:
                parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator))
    model = attach_lora(base, LoraSection(rank=2, alpha=4, targets=targets)).eval()
    return _subject(task, model, base.tokenizer)


def _subject(task: TaskSection, model: torch.nn.Module, tokenizer: object) -> Subject:
    parameters = live_parameters(model) or dict(model.named_parameters())
    return Subject(
        candidate=Candidate(
            name="it", kind="federation", description="", adapter=read_adapter(parameters)
        ),
        task=task,
        scorer=Scorer(
            task=make_task(task),
            model=model,
            tokenizer=tokenizer,  # type: ignore[arg-type]
            max_length=24,
            batch_size=32,
        ),
    )
