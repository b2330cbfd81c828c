"""`fedloom plan`: what a federation would do and cost."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from fedloom.shared.words import count

if TYPE_CHECKING:
    from fedloom.shared.adapter import AdapterLayout
    from fedloom.shared.phases import Phase
    from fedloom.shared.plan import Plan


@click.command("plan")
@click.argument("federation", type=click.Path(path_type=Path))
@click.option("--toml", "as_toml", is_flag=True, help="Print the exact plan as TOML.")
@click.option("--online", is_flag=True, help="Allow the base model to be fetched from the hub.")
def command(federation: Path, as_toml: bool, online: bool) -> None:
    """Show noise, steps, epsilon by round and bytes of FEDERATION.toml. Spends nothing.

    Where each site has declared_units there, no records are needed.
    """
    from fedloom.server.evaluator.promises import check_promises
    from fedloom.server.initial import initial_adapter
    from fedloom.shared.config.federation import read_federation
    from fedloom.simulation.prepare import planned

    config = read_federation(federation)
    check_promises(config)
    model, plan = planned(config, offline=not online)
    if as_toml:
        click.echo(plan.to_toml())
        return
    layout = initial_adapter(plan, model, config.lora.start).layout
    for line in _lines(plan, layout):
        click.echo(line)


def _lines(plan: "Plan", layout: "AdapterLayout") -> list[str]:
    from fedloom.shared.phases import phases_of

    trained = {phase: phase.layout(layout) for phase in phases_of(plan)}
    sizes = [part.size for part in trained.values()]
    return [
        f"plan     {plan.sha256}",
        f"model    {plan.model.described}, sha256 {plan.model.sha256}",
        f"start    {plan.start_sha256 or 'fresh'}",
        f"privacy  {_promise(plan)}",
        f"batch    {plan.training.expected_batch_size} expected",
        f"bytes    {layout.nbytes:,} down for each site and round; up as each round trains",
        *(_phase_line(phase, part) for phase, part in trained.items()),
        *_metric_lines(plan),
        *(f"loss     {said}" for said in (plan.mitigation.in_words if plan.mitigation else ())),
        "",
        *_site_lines(plan, sizes),
        *_hint(plan, sizes),
    ]


def _phase_line(phase: "Phase", trained: "AdapterLayout") -> str:
    steps, numbers = count(phase.local_steps, "step"), count(trained.size, "trained number")
    return (
        f"rounds   {phase.first} to {phase.last}, {steps} each, {phase.trains}: {numbers}, "
        f"{trained.nbytes:,} bytes up for each site and round"
    )


def _metric_lines(plan: "Plan") -> list[str]:
    metrics = plan.metrics
    return [
        f"metric   {value}, told in every round that {metrics.every} divides, noise multiplier "
        f"{metrics.noise_multiplier:g}, within epsilon"
        for value in metrics.values
    ]


def _hint(plan: "Plan", sizes: Sequence[int]) -> list[str]:
    from fedloom.server.planning import noise_to_signal

    most = max(sizes)
    loud = [site.name for site in plan.sites if noise_to_signal(plan, site, most) > 1]
    if not loud:
        return []
    return [
        "",
        f"note: at {', '.join(loud)} a step holds more noise than the gradients can say; it may "
        "learn little without more records, a larger batch or fewer trained numbers",
    ]


def _promise(plan: "Plan") -> str:
    privacy = plan.privacy
    if not privacy.private:
        return "NONE: sites train without differential privacy"
    seeded = "; SEEDED: NOT PRIVATE" if privacy.seeded else ""
    return (
        f"unit {privacy.unit}, {privacy.relation}, delta {privacy.delta:g}, clip norm "
        f"{privacy.clip_norm:g}, accountant {privacy.accountant}{seeded}"
    )


def _site_lines(plan: "Plan", sizes: Sequence[int]) -> list[str]:
    from fedloom.server.planning import epsilon_by_round, noise_to_signal

    spent, shown = epsilon_by_round(plan), plan.rounds.milestones[1:]
    lines = [
        f"{'site':<16}{'units':>8}{'rate':>9}{'noise':>8}{'noise/signal':>14}{'steps':>7}"
        f"  epsilon after round {', '.join(map(str, shown))}"
    ]
    for site in plan.sites:
        loud = ", ".join(f"{noise_to_signal(plan, site, size):.2f}" for size in sizes)
        values = spent.get(site.name, ())
        by_round = " ".join(f"{values[at - 1]:.2f}" for at in shown if values) or "none"
        lines.append(
            f"{site.name:<16}{site.declared_units:>8}{site.sample_rate:>9.4f}"
            f"{site.noise_multiplier:>8.3f}{loud:>14}"
            f"{site.steps:>7}  {by_round}"
        )
    return lines
