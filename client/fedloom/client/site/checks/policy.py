"""The policy: numbers that contradict each other, and switches that take protection away."""

from collections.abc import Iterator, Mapping
from types import MappingProxyType

from fedloom.client.site.checks.finding import Seen, Site, good, problem, warning

_SWITCHES: Mapping[str, str] = MappingProxyType(
    {
        "seeded_noise": "whoever knows the seed takes the noise off again",
        "without_privacy": "updates may then show records as they are",
    }
)


def look_at_policy(site: Site) -> Iterator[Seen]:
    """What it allows in a line, then what is wrong with it."""
    budget = site.policy.budget
    default = "" if site.policy_is_read else "(default) "
    yield good(
        f"{default}epsilon {budget.epsilon:g} at delta {budget.delta:g} in all, for each "
        f"{site.config.source.unit}; noise at least {budget.min_noise_multiplier:g}"
    )
    for value in site.policy.release.values:
        yield good(f"{value} may leave beside the updates, noised and charged")
    yield from (problem(text) for text in _contradictions(site))
    for switch, text in _SWITCHES.items():
        if getattr(site.policy.allow, switch):
            yield warning(f"allow.{switch} is on: it protects nobody, {text}; for simulations only")


def _contradictions(site: Site) -> Iterator[str]:
    budget, units = site.policy.budget, site.config.declared_units
    per_run = budget.epsilon_per_run
    if per_run is not None and per_run > budget.epsilon:
        yield (
            f"budget.epsilon_per_run {per_run:g} is more than budget.epsilon {budget.epsilon:g}: "
            "one of them is not what you mean"
        )
    if budget.delta * units >= 1:
        yield (
            f"budget.delta {budget.delta:g} does not protect among {units:,} units: a whole record "
            f"may leave; expected well below {1 / units:.1g}"
        )
    if units < budget.min_units:
        yield (
            f"declared_units {units:,} in site.toml, expected at least budget.min_units = "
            f"{budget.min_units:,}: every private plan would be refused"
        )
