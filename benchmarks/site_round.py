"""Records a second of a site's round on the demo's real records: all speed switches, one off, none.

The round is the demo's after its head rounds (LoRA in the last two layers, Poisson batches of 512
expected), with more steps. Opacus' hooks train the same adapter on the same draws, in fp32,
all rows of a Poisson batch padded to its longest and cut into pieces of as many padded tokens.
Each way has a process of its own; they take turns.

    python -m benchmarks.site_round [--site nyt-editorials] [--steps 2]
"""

import warnings
from functools import partial
from pathlib import Path

from benchmarks.apart import Setup, measure_apart
from benchmarks.cases import demo_config
from benchmarks.common import Times, medians, parser_of, print_table, ratios, write_json
from benchmarks.rounds import (
    ALL_ON,
    FILLING,
    HOOKS,
    WAYS,
    Site,
    fedloom_round,
    filling,
    hooks_round,
)
from fedloom.shared.config.federation import read_federation
from fedloom.shared.data.records import read_records
from fedloom.simulation.prepare import prepare, source_of, split_of


def demo_site(config_path: Path, name: str, *, steps: int) -> tuple[Site, int]:
    """One site with a round of `steps` steps, and how many steps the demo's whole run has."""
    config = read_federation(config_path)
    prepared = prepare(config)
    section = next(site for site in config.data.sites if site.name == name)
    records = read_records(source_of(config, section), labels=config.task.labels)
    changes = {"local_steps": steps, "head_rounds": 0}
    training = prepared.plan.training.model_copy(update=changes)
    site = Site(
        plan=prepared.plan.model_copy(update={"training": training}),
        name=name,
        records=tuple(split_of(config).training(records)),
        model=prepared.model,
    )
    return site, prepared.plan.site(name).steps


def measure(site: Site, *, repeats: int) -> Times:
    setups: dict[str, Setup] = {
        name: partial(fedloom_round, site, switches) for name, switches in WAYS.items()
    }
    setups |= {HOOKS: partial(hooks_round, site), FILLING: partial(filling, site)}
    return measure_apart(setups, repeats=repeats).times


def _show(site: Site, times: Times, *, steps_of_run: int) -> dict[str, object]:
    middle, drawn = medians(times), site.drawn()
    to_hooks, to_ours = ratios(times, to=HOOKS), ratios(times, to=ALL_ON)
    share = site.plan.training.local_steps / steps_of_run
    with_filling = middle[ALL_ON] + share * middle[FILLING]
    print(
        f"{site.name}: {len(site.records)} records, {drawn} drawn, {site.plan.training.precision}"
    )
    rows = [
        (name, f"{middle[name]:.2f} s", f"{drawn / middle[name]:.0f}",
         f"{1 / to_hooks[name]:.1f}", f"{to_ours[name]:.2f}")
        for name in (*WAYS, HOOKS)
    ]  # fmt: skip
    head = ("", "round", "records/s", "times Opacus", "time / all switches")
    print_table(head, rows)
    print(f"{FILLING}: {middle[FILLING]:.1f} s; with this round's share of it")
    print(
        f"{drawn / with_filling:.0f} records/s, {middle[HOOKS] / with_filling:.1f} times Opacus\n"
    )
    return {
        "site": site.name,
        "records": len(site.records),
        "drawn": drawn,
        "precision": site.plan.training.precision,
        "seconds": middle,
        "times_opacus": {name: 1 / ratio for name, ratio in to_hooks.items()},
        "times_opacus_with_filling": middle[HOOKS] / with_filling,
    }


def main() -> None:
    parser = parser_of(__doc__, json_name="site_round.json")
    parser.add_argument("--site", default="nyt-editorials")
    parser.add_argument("--steps", type=int, default=2)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    site, steps_of_run = demo_site(demo_config(), options.site, steps=options.steps)
    times = measure(site, repeats=options.repeats)
    write_json(options.json, _show(site, times, steps_of_run=steps_of_run))


if __name__ == "__main__":
    main()
