"""One training step: time and memory of FedLoom against plain PEFT and the ways of Opacus.

Each has a process of its own, and they take their steps in turn (A B C A B C …), so that what
else the machine does hits all alike. A ratio to plain PEFT is the median over turns of the ratio
within a turn. Memory is the peak above the loaded model. All rows have 128 tokens, no padding.

    python -m benchmarks.steps [--batches 8 16 32] [--causal FOLDER | --causal random]
"""

import os
import statistics
import warnings
from argparse import Namespace
from collections.abc import Iterator
from functools import partial

from benchmarks.apart import Costs, measure_apart
from benchmarks.cases import CAUSAL_TARGETS, ENCODER_TARGETS, Case
from benchmarks.common import Work, medians, parser_of, print_table, ratios, seconds, write_json
from benchmarks.competitors import BASELINE, COMPETITORS, PRIVATE, Terms
from fedloom.client.training.randomness import Stream
from fedloom.shared.model.lora import attach_lora, live_parameters

TOKENS = 128


def step_of(case: Case, name: str) -> Work:
    """One competitor's step, its model loaded and resident."""
    competitor = COMPETITORS[name](case.workload(), Terms())
    for values in competitor.model.parameters():
        # Weights are mapped from their file and are resident once they are read.
        values.detach().sum()
    return competitor.step


def compare(case: Case, *, repeats: int) -> Costs:
    return measure_apart(
        {name: partial(step_of, case, name) for name in COMPETITORS}, repeats=repeats
    )


def noise_seconds(case: Case) -> float:
    """What drawing the noise of one step takes."""
    workload = case.workload()
    trained = live_parameters(attach_lora(workload.load(), workload.plan.lora)).values()
    count, stream = sum(values.numel() for values in trained), Stream(os.urandom(32))
    return statistics.median(seconds(lambda: stream.normal(count)) for _ in range(9))


def _cases(options: Namespace) -> Iterator[Case]:
    for targets in ENCODER_TARGETS:
        for batch in options.batches:
            yield Case(targets=targets, batch=batch, tokens=TOKENS)
    for targets in CAUSAL_TARGETS if options.causal else ():
        yield Case(
            targets=targets, batch=options.causal_batch, tokens=TOKENS, causal=options.causal
        )


def _show(case: Case, costs: Costs, share: float) -> dict[str, object]:
    middle, ratio = medians(costs.times), ratios(costs.times, to=BASELINE)
    base = costs.megabytes[BASELINE]
    memory = {name: megabytes / base for name, megabytes in costs.megabytes.items()}
    print(case.title)
    rows = [
        (
            name,
            f"{middle[name]:.3f} s",
            f"{ratio[name]:.2f}",
            f"{costs.megabytes[name]:.0f} MB",
            f"{memory[name]:.2f}",
        )
        for name in COMPETITORS
    ]
    print_table(("", "step", "/ PEFT", "peak above model", "/ PEFT"), rows)
    print(f"drawing noise: {share:.1%} of a private step\n", flush=True)
    return {
        "seconds": middle,
        "time_ratio": ratio,
        "megabytes": costs.megabytes,
        "memory_ratio": memory,
        "noise_share": share,
    }


def main() -> None:
    parser = parser_of(__doc__, json_name="steps.json")
    parser.add_argument("--batches", type=int, nargs="*", default=[8, 16, 32])
    parser.add_argument("--causal", metavar="FOLDER", help="a causal model too, or `random`")
    parser.add_argument("--causal-batch", type=int, default=8)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    found = {}
    for case in _cases(options):
        costs = compare(case, repeats=options.repeats)
        share = noise_seconds(case) / medians(costs.times)[PRIVATE]
        found[case.title] = _show(case, costs, share)
        write_json(options.json, found)


if __name__ == "__main__":
    main()
