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
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
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


@dataclass(frozen=True, kw_only=True)
class Row:
    """One competitor's step; `megabytes` are above the loaded model."""

    seconds: float
    time_ratio: float
    megabytes: float
    memory_ratio: float


def compare(case: Case, chosen: Sequence[str], *, repeats: int, at_once: int) -> dict[str, Row]:
    """`chosen` competitors, `at_once` processes at a time; plain PEFT is one of them each time."""
    others = [name for name in chosen if name != BASELINE]
    size = max(1, at_once - 1)
    found: dict[str, Row] = {}
    for start in range(0, len(others), size):
        names = (BASELINE, *others[start : start + size])
        setups = {name: partial(step_of, case, name) for name in names}
        found |= rows_of(measure_apart(setups, repeats=repeats))
    return found


def rows_of(costs: Costs) -> dict[str, Row]:
    middle, ratio = medians(costs.times), ratios(costs.times, to=BASELINE)
    base = costs.megabytes[BASELINE]
    return {
        name: Row(
            seconds=middle[name],
            time_ratio=ratio[name],
            megabytes=megabytes,
            memory_ratio=megabytes / base,
        )
        for name, megabytes in costs.megabytes.items()
    }


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


def _show(case: Case, rows: Mapping[str, Row], share: float | None) -> None:
    print(case.title)
    cells = [
        (
            name,
            f"{rows[name].seconds:.3f} s",
            f"{rows[name].time_ratio:.2f}",
            f"{rows[name].megabytes:.0f} MB",
            f"{rows[name].memory_ratio:.2f}",
        )
        for name in rows
    ]
    print_table(("", "step", "/ PEFT", "peak above model", "/ PEFT"), cells)
    if share is not None:
        print(f"drawing noise: {share:.1%} of a private step\n", flush=True)


def main() -> None:
    parser = parser_of(__doc__, json_name="steps.json")
    parser.add_argument("--batches", type=int, nargs="*", default=[8, 16, 32])
    parser.add_argument("--causal", metavar="FOLDER", help="a causal model too, or `random`")
    parser.add_argument("--causal-batch", type=int, default=8)
    parser.add_argument("--at-once", type=int, default=len(COMPETITORS), help="processes")
    parser.add_argument("--only", nargs="+", choices=COMPETITORS, default=list(COMPETITORS))
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    found = {}
    for case in _cases(options):
        rows = compare(case, options.only, repeats=options.repeats, at_once=options.at_once)
        share = noise_seconds(case) / rows[PRIVATE].seconds if PRIVATE in rows else None
        _show(case, rows, share)
        by_name = {name: asdict(row) for name, row in rows.items()}
        found[case.title] = {"rows": by_name, "noise_share": share}
        write_json(options.json, found)


if __name__ == "__main__":
    main()
