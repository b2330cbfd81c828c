"""The checks that a task must pass before the site touches a record or its budget."""

from dataclasses import dataclass

from fedloom.client.ledger.spending import Spent
from fedloom.client.site.config import SiteConfig
from fedloom.shared.config.sections import LEAST_NOISE
from fedloom.shared.errors import SiteRefusal
from fedloom.shared.plan import Plan, SitePlan
from fedloom.shared.privacy.accounting import ACCOUNTANTS, Mechanism
from fedloom.shared.wire.messages import TrainTask


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What the site itself knows: its model's fingerprint, and what other plans were charged."""

    model_sha256: str
    spent: Spent


def check_task(task: TrainTask, config: SiteConfig, facts: Facts) -> None:
    """Refuse a task that the site's settings or its remaining budget do not cover.

    Guarantee: after this returns, carrying out the plan's whole remaining run keeps the site's
    cumulative epsilon, for its privacy unit and over every charge in `facts.spent`, at or
    below `policy.max_epsilon` at the plan's delta. Noise, sample rate and steps are the site's
    own recomputation, never the server's word.

    Raises:
        SiteRefusal: naming the rule, what was asked and what is allowed.
    """
    if task.site != config.name:
        raise SiteRefusal("site-name", asked=task.site, allowed=config.name)
    if facts.model_sha256 != task.plan.model.sha256:
        raise SiteRefusal("base-model", asked=task.plan.model.sha256, allowed=facts.model_sha256)
    if task.round > task.plan.rounds.total:
        raise SiteRefusal("round", asked=task.round, allowed=task.plan.rounds.total)
    start = task.plan.start_sha256
    if task.round == 1 and start is not None and task.adapter.sha256 != start:
        raise SiteRefusal("start", asked=task.adapter.sha256, allowed=start)
    if task.plan.task.labels != config.labels:
        # A label set of the server's choosing would ask which labels the records hold.
        raise SiteRefusal("labels", asked=task.plan.task.labels, allowed=config.labels)
    site = task.plan.site(config.name)
    _check_mechanism(task.plan, site, config, facts.spent)
    if task.plan.privacy.private:
        _check_privacy(task.plan, site, config, facts)
    elif not config.policy.allow_non_private:
        raise SiteRefusal("private-training", asked="none", allowed="dp-sgd")


def mechanism_of(plan: Plan, site: SitePlan, *, steps: int) -> Mechanism:
    """`steps` of the plan's mechanism at this site."""
    return Mechanism(
        noise_multiplier=site.noise_multiplier, sample_rate=site.sample_rate, steps=steps
    )


def _check_mechanism(plan: Plan, site: SitePlan, config: SiteConfig, spent: Spent) -> None:
    if site.declared_units != config.declared_units:
        raise SiteRefusal(
            "declared-units", asked=site.declared_units, allowed=config.declared_units
        )
    rate = plan.training.expected_batch_size / config.declared_units
    if site.sample_rate != rate:
        raise SiteRefusal("sample-rate", asked=site.sample_rate, allowed=rate)
    steps = plan.training.steps_through(plan.rounds.total)
    if site.steps != steps:
        raise SiteRefusal("steps", asked=site.steps, allowed=steps)
    if spent.steps + steps > config.policy.max_steps:
        allowed = config.policy.max_steps - spent.steps
        raise SiteRefusal("max-steps", asked=steps, allowed=max(0, allowed))
    if plan.privacy.unit != config.source.unit:
        raise SiteRefusal("privacy-unit", asked=plan.privacy.unit, allowed=config.source.unit)


def _check_privacy(plan: Plan, site: SitePlan, config: SiteConfig, facts: Facts) -> None:
    policy = config.policy
    if plan.privacy.seeded and not policy.allow_seeded_noise:
        raise SiteRefusal("seeded-noise", asked="seeded", allowed="operating system's randomness")
    if config.declared_units < policy.min_units:
        raise SiteRefusal("min-units", asked=config.declared_units, allowed=policy.min_units)
    delta = plan.privacy.delta
    if delta > policy.max_delta or delta * config.declared_units >= 1:
        raise SiteRefusal("delta", asked=delta, allowed=policy.max_delta)
    if site.noise_multiplier < LEAST_NOISE:
        asked = site.noise_multiplier
        raise SiteRefusal("noise-multiplier", asked=asked, allowed=f"at least {LEAST_NOISE}")
    seeded_before = facts.spent.seeded and not plan.privacy.seeded
    if facts.spent.without_privacy or seeded_before:
        raise SiteRefusal("spent-without-privacy", asked="an epsilon", allowed="none is left")
    if not facts.spent.units <= {plan.privacy.unit}:
        charged = ", ".join(sorted(facts.spent.units))
        raise SiteRefusal("privacy-unit-charged", asked=plan.privacy.unit, allowed=charged)
    whole_run = mechanism_of(plan, site, steps=site.steps)
    epsilon = ACCOUNTANTS[plan.privacy.accountant]([*facts.spent.history, whole_run], delta)
    # So put, that an epsilon which is no number is refused too.
    if not epsilon <= policy.max_epsilon:
        raise SiteRefusal("epsilon", asked=f"{epsilon:.4g}", allowed=policy.max_epsilon)
