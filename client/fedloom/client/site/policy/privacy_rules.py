"""The rules for plans with differential privacy: noise, delta, unit, and what is left to spend."""

from fedloom.client.site.policy.asked import Asked
from fedloom.shared.errors import SiteRefusal


def check_privacy(asked: Asked) -> None:
    """Refuse what the policy's budget does not cover.

    Raises:
        SiteRefusal: naming the rule.
    """
    for rule in (_is_protected, _is_large_enough, _has_a_clean_history, _fits_the_budget):
        rule(asked)


def _is_protected(asked: Asked) -> None:
    if asked.plan.privacy.seeded and not asked.policy.allow.seeded_noise:
        raise SiteRefusal("seeded-noise", asked="seeded", allowed="operating system's randomness")
    noise, least = asked.site.noise_multiplier, asked.policy.budget.min_noise_multiplier
    # So put, here and below, that what is no number is refused too.
    if not noise >= least:
        raise SiteRefusal("noise-multiplier", asked=noise, allowed=f"at least {least}")


def _is_large_enough(asked: Asked) -> None:
    budget, units = asked.policy.budget, asked.config.declared_units
    if units < budget.min_units:
        raise SiteRefusal("min-units", asked=units, allowed=budget.min_units)
    delta = asked.plan.privacy.delta
    if not (delta <= budget.delta and delta * units < 1):
        raise SiteRefusal("delta", asked=delta, allowed=budget.delta)


def _has_a_clean_history(asked: Asked) -> None:
    """A history of records says nothing of persons, and no epsilon covers what had no noise."""
    spent, privacy = asked.facts.spent, asked.plan.privacy
    if spent.without_privacy or (spent.seeded and not privacy.seeded):
        raise SiteRefusal("spent-without-privacy", asked="an epsilon", allowed="none is left")
    if not spent.units <= {privacy.unit}:
        charged = ", ".join(sorted(spent.units))
        raise SiteRefusal("privacy-unit-charged", asked=privacy.unit, allowed=charged)


def _fits_the_budget(asked: Asked) -> None:
    budget = asked.policy.budget
    of_run, per_run = asked.epsilon_of_run(), budget.epsilon_per_run or budget.epsilon
    if not of_run <= per_run:
        raise SiteRefusal("epsilon-per-run", asked=f"{of_run:.4g}", allowed=per_run)
    after = asked.epsilon_after()
    if not after <= budget.epsilon:
        raise SiteRefusal("epsilon", asked=f"{after:.4g}", allowed=budget.epsilon)
