"""The cases that are measured: a model, what LoRA sits on, how many rows of how many tokens."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from benchmarks.workloads import Workload, causal, encoder
from fedloom.shared.assets.cache import default_cache
from fedloom.simulation.demo.hutto import MODEL, prepare_demo

RANDOM = "random"

# What `targets` stands for, in models of the BERT and of the Llama kind.
ENCODER_TARGETS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {"query+value": ("query", "value"), "all-linear": ("query", "key", "value", "dense")}
)
CAUSAL_TARGETS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "query+value": ("q_proj", "v_proj"),
        "all-linear": (
            "q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj",
        ),
    }
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Case:
    """`causal` is no case of the demo's encoder but of a language model: its folder, or `random`
    for random weights in the shape of SmolLM2-135M."""

    targets: str
    batch: int
    tokens: int
    causal: str | None = None

    @property
    def model(self) -> str:
        if self.causal is None:
            return MODEL
        if self.causal == RANDOM:
            return "random weights in the shape of SmolLM2-135M"
        return Path(self.causal).name

    @property
    def title(self) -> str:
        return f"{self.model}, {self.targets}, batch {self.batch}, {self.tokens} tokens, fp32"

    def workload(self) -> Workload:
        if self.causal is None:
            folder, targets = demo_config().parent / MODEL, ENCODER_TARGETS[self.targets]
            return encoder(folder, targets=targets, batch=self.batch, tokens=self.tokens)
        folder = None if self.causal == RANDOM else Path(self.causal)
        targets = CAUSAL_TARGETS[self.targets]
        return causal(folder, targets=targets, batch=self.batch, tokens=self.tokens)


def demo_config() -> Path:
    """The demo's federation file; its assets are fetched if they are not at hand."""
    return prepare_demo(default_cache(), offline=False)
