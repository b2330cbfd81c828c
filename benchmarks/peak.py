"""How much of the processor's matrix-multiply peak each part of a private step reaches.

The peak is torch.mm of two large squares. Parts are timed in turn, each by itself, forward and
backward, on input of the shape that it has in a step. Operations of the matrix products are
counted by hand, a multiplication with an addition as two; what has no products has none. LoRA's
time is that of the linear layers with it less that of those without in the same turn, that of
elementwise parts likewise: differences of larger figures, good to a few percent of a step.

    python -m benchmarks.peak [--batch 16]
"""

import statistics
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import get_args

import torch
from torch import nn

from benchmarks.cases import ENCODER_TARGETS, demo_config
from benchmarks.common import Times, Work, in_turn, medians, parser_of, print_table, write_json
from benchmarks.competitors import Terms, optimizer_of, ours_private, private_step, tuned_model
from benchmarks.workloads import Precision, Workload, encoder
from fedloom.client.training.lora_layers import fuse_lora
from fedloom.client.training.pieces import MicroBatch
from fedloom.simulation.demo.hutto import MODEL

SQUARE, TOKENS = 2048, 128
WHOLE = "whole step"
_DTYPES: Mapping[str, torch.dtype] = {"fp32": torch.float32, "bf16": torch.bfloat16}


@dataclass(frozen=True, kw_only=True)
class Part:
    """What a part of a step takes, and the operations of its matrix products."""

    seconds: float
    operations: float


def peak_of(precision: Precision, *, repeats: int) -> float:
    """Operations a second of a large matrix product."""
    left, right = (torch.randn(SQUARE, SQUARE).to(_DTYPES[precision]) for _ in range(2))
    times = in_turn({"mm": lambda: torch.mm(left, right)}, repeats=repeats)
    return 2 * SQUARE**3 / min(times["mm"])


def parts_of(workload: Workload, *, repeats: int) -> dict[str, Part]:
    """Every part of a step on a BERT encoder, and the whole step as measured."""
    works = _layer_works(workload) | {
        "embedding": _embedding(workload),
        "clipping, noise, optimizer": _clipping(workload),
        WHOLE: ours_private(workload, Terms()).step,
    }
    times = in_turn(works, repeats=repeats)
    took = medians(times)
    config = workload.load().model.config
    layers, count = config.num_hidden_layers, _operations(config, workload)
    each = {
        "attention: projections": took["projections"],
        "attention: scores, softmax, norm": _less(times, "attention", "projections"),
        "MLP: products": took["products"],
        "MLP: GELU, norm": _less(times, "mlp", "products"),
        "LoRA, by example": _less(times, "tuned", "bare"),
    }
    parts = {name: Part(seconds=layers * at, operations=count[name]) for name, at in each.items()}
    rest = ("embedding", "clipping, noise, optimizer")
    parts |= {name: Part(seconds=took[name], operations=0) for name in rest}
    return parts | {WHOLE: Part(seconds=took[WHOLE], operations=sum(count.values()))}


def _less(times: Times, whole: str, *parts: str) -> float:
    """What `whole` takes beyond `parts` in the same turn, the median over turns."""
    columns = zip(times[whole], *(times[part] for part in parts), strict=True)
    return statistics.median(first - sum(rest) for first, *rest in columns)


def _layer_works(workload: Workload) -> dict[str, Work]:
    layer = workload.load().model.requires_grad_(False).bert.encoder.layer[0]
    tuned, _ = tuned_model(workload, Terms())
    fuse_lora(tuned, per_example=True)
    tuned_linears = _linears(tuned.get_base_model().bert.encoder.layer[0])
    linears = _linears(layer)
    chosen = [at for at, own in enumerate(tuned_linears) if type(own) is not nn.Linear]
    shape = (len(workload.examples), len(workload.examples[0].tokens))
    wide = [torch.randn(*shape, at.in_features) for at in linears]
    hidden, half = wide[0], workload.plan.training.precision == "bf16"

    def both_ways(layers: Sequence[nn.Module], inputs: Sequence[torch.Tensor]) -> Work:
        return lambda: [_both_ways(at, x, half=half) for at, x in zip(layers, inputs, strict=True)]

    return {
        "projections": both_ways(linears[:4], wide[:4]),
        "attention": both_ways([layer.attention], [hidden]),
        "products": both_ways(linears[4:], wide[4:]),
        "mlp": lambda: _both_ways(layer.feed_forward_chunk, hidden, half=half),
        "tuned": both_ways([tuned_linears[at] for at in chosen], [wide[at] for at in chosen]),
        "bare": both_ways([linears[at] for at in chosen], [wide[at] for at in chosen]),
    }


def _linears(layer: nn.Module) -> tuple[nn.Module, ...]:
    """The four of attention, then the two of the MLP."""
    own = layer.attention
    projections = (own.self.query, own.self.key, own.self.value, own.output.dense)
    return (*projections, layer.intermediate.dense, layer.output.dense)


def _both_ways(forward: Callable[..., object], x: torch.Tensor, *, half: bool) -> None:
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=half):
        out = forward(x.requires_grad_())
    last = out[0] if isinstance(out, tuple) else out
    torch.autograd.backward(last, torch.ones_like(last))
    x.grad = None
    for parameter in forward.parameters() if isinstance(forward, nn.Module) else ():
        parameter.grad_sample = None


def _embedding(workload: Workload) -> Work:
    table = workload.load().model.requires_grad_(False).bert.embeddings
    tokens = workload.batch().inputs["input_ids"]
    return lambda: table(input_ids=tokens)


def _clipping(workload: Workload) -> Work:
    """The private step without forward and backward: gradients are there already."""
    _, trained = tuned_model(workload, Terms())
    rule = private_step(optimizer_of(trained, Terms()), workload, Terms())
    rows = {at: torch.randn(len(workload.examples), *at.shape) for at in trained.values()}

    def losses(_piece: MicroBatch) -> torch.Tensor:
        for parameter, given in rows.items():
            parameter.grad_sample = given.clone()
        return torch.zeros(1, requires_grad=True)

    return lambda: rule.step(workload.groups, losses)


def _operations(config: object, workload: Workload) -> dict[str, float]:
    """By part. A frozen product runs once forward and once backward, a score three times.

    Each input and output of a LoRA layer meets its rank three times: forward, in the gradient of
    A or B, and on the way back.
    """
    layers, width = config.num_hidden_layers, config.hidden_size
    positions = sum(len(example.tokens) for example in workload.examples)
    wide = 2 * positions * width * layers
    lora = workload.plan.lora
    ends = {"query": 2, "key": 2, "value": 2, "dense": 2}
    mlp = config.intermediate_size / width
    sides = sum(ends[target] for target in lora.targets) + ("dense" in lora.targets) * 2 * (1 + mlp)
    return {
        "attention: projections": 2 * wide * 4 * width,
        "attention: scores, softmax, norm": 3 * wide * 2 * len(workload.examples[0].tokens),
        "MLP: products": 2 * wide * 2 * config.intermediate_size,
        "MLP: GELU, norm": 0,
        "LoRA, by example": 3 * wide * lora.rank * sides,
    }


def _show(title: str, parts: Mapping[str, Part], peak: float) -> dict[str, object]:
    whole = parts[WHOLE].seconds
    rows = [
        (
            name,
            f"{part.seconds * 1e3:.1f} ms",
            f"{part.seconds / whole:.0%}",
            f"{part.operations / part.seconds / 1e9:.0f}",
            f"{part.operations / part.seconds / peak:.0%}",
        )
        for name, part in parts.items()
    ]
    print(f"{title}: peak {peak / 1e9:.0f} GFLOP/s")
    print_table(("", "time", "of the step", "GFLOP/s", "of the peak"), rows)
    return {"peak": peak, "parts": {name: asdict(part) for name, part in parts.items()}}


def main() -> None:
    parser = parser_of(__doc__, json_name="peak.json")
    parser.add_argument("--batch", type=int, default=16)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    folder: Path = demo_config().parent / MODEL
    found = {}
    for precision in get_args(Precision):
        peak = peak_of(precision, repeats=options.repeats)
        for name, targets in ENCODER_TARGETS.items():
            workload = encoder(
                folder, targets=targets, batch=options.batch, tokens=TOKENS, precision=precision
            )
            title = f"{MODEL}, {name}, batch {options.batch}, {TOKENS} tokens, {precision}"
            found[title] = _show(title, parts_of(workload, repeats=options.repeats), peak)
    write_json(options.json, found)


if __name__ == "__main__":
    main()
