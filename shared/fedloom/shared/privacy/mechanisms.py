"""What rounds of a plan cost: the one place that says which mechanisms run in them.

The plan's epsilon, the site's policy and what a steward reads all come from here; a ledger adds up
the same mechanisms from the numbers that it was charged.
"""

from collections.abc import Iterable

from fedloom.shared.config.privacy import MetricsSection
from fedloom.shared.plan import Plan, SitePlan
from fedloom.shared.privacy.accounting import Mechanism


def mechanisms_of(plan: Plan, site: SitePlan, rounds: Iterable[int]) -> tuple[Mechanism, ...]:
    """All that `rounds` of a plan release of a site's records; nothing is known without privacy.

    Guarantee: for each privacy unit of the site, under adding or removing one, whatever a site
    sends in these rounds is the adaptive composition of these mechanisms and post-processing.
    Held-out units are others than those that train, so that one unit's true cost is that of
    fewer; a site may part its units anew for the next plan, and then it is not.
    """
    if not plan.privacy.private:
        return ()
    numbers = tuple(rounds)
    training = Mechanism(
        noise_multiplier=site.noise_multiplier,
        sample_rate=site.sample_rate,
        steps=sum(map(plan.training.steps_in, numbers)),
    )
    return (training, *metrics_in(plan.metrics, numbers))


def metrics_in(metrics: MetricsSection, rounds: Iterable[int]) -> tuple[Mechanism, ...]:
    """What the metrics of these rounds cost, if any of the rounds is measured."""
    times = sum(map(metrics.measures, rounds))
    return (metric_mechanism(metrics.noise_multiplier, times=times),) if times else ()


def metric_mechanism(noise_multiplier: float, *, times: int = 1) -> Mechanism:
    """A metric released `times` times: every held-out unit is in each, so nothing is sampled."""
    return Mechanism(noise_multiplier=noise_multiplier, sample_rate=1.0, steps=times)
