"""A plan in plain words, for the steward who is to agree to it."""

from collections.abc import Iterator

from fedloom.client.ledger.spending import Spent
from fedloom.client.site.config import SiteConfig
from fedloom.client.site.policy.document import Policy
from fedloom.shared.plan import Plan
from fedloom.shared.privacy.accounting import ACCOUNTANTS
from fedloom.shared.privacy.mechanisms import mechanisms_of
from fedloom.shared.words import count


def in_plain_words(plan: Plan, config: SiteConfig, policy: Policy, spent: Spent) -> Iterator[str]:
    """What, how long, what it costs: one line each.

    Raises:
        PlanError: the plan has no part for this site.
    """
    training, lora, site = plan.training, plan.lora, plan.site(config.name)
    targets = ", ".join(lora.targets) or "the model's own choice"
    where = f" in the last {lora.last_layers} layers" if lora.last_layers else ""
    others = count(len(plan.sites) - 1, "other site")
    yield f"plan      {plan.name}, {plan.sha256}"
    yield f"what      {plan.task.kind} ({', '.join(plan.task.labels) or 'free text'})"
    yield f"model     {plan.model.described}, sha256 {plan.model.sha256}"
    yield f"adapter   LoRA of rank {lora.rank} on {targets}{where}"
    for said in plan.mitigation.in_words if plan.mitigation else ():
        yield f"loss      {said}; no epsilon is spent on it"
    yield f"with      {others}"
    yield (
        f"how long  {count(plan.rounds.total, 'round')}, {count(site.steps, 'step')} in all, each "
        f"on about {training.expected_batch_size} of "
        f"{count(config.declared_units, plan.privacy.unit)}"
    )
    yield from _privacy(plan, config, policy, spent)


def _privacy(plan: Plan, config: SiteConfig, policy: Policy, spent: Spent) -> Iterator[str]:
    if not plan.privacy.private:
        yield "privacy   NONE: what the updates say of a record is bounded by nothing"
        return
    site = plan.site(config.name)
    if plan.privacy.seeded:
        yield "privacy   NONE: the noise is seeded, so whoever knows the seed takes it off again"
    yield (
        f"noise     {site.noise_multiplier:g} times the clip norm in each step; each "
        f"{plan.privacy.unit}'s part in it is clipped to {plan.privacy.clip_norm:g}"
    )
    yield from _released(plan)
    yield from _epsilon(plan, config, policy, spent)


def _released(plan: Plan) -> Iterator[str]:
    metrics, unit = plan.metrics, plan.privacy.unit
    measured = sum(map(metrics.measures, range(1, plan.rounds.total + 1)))
    for value in metrics.values:
        yield (
            f"leaves    {value}, beside the update in {count(measured, 'round')}: how many "
            f"{unit}s are held out and how many come out right, with noise "
            f"{metrics.noise_multiplier:g} times what one {unit} can move"
        )


def _epsilon(plan: Plan, config: SiteConfig, policy: Policy, spent: Spent) -> Iterator[str]:
    accountant, delta = ACCOUNTANTS[plan.privacy.accountant], plan.privacy.delta
    run = mechanisms_of(plan, plan.site(config.name), range(1, plan.rounds.total + 1))
    now, after = accountant(spent.history, delta), accountant([*spent.history, *run], delta)
    allowed = policy.budget.epsilon
    yield (
        f"epsilon   {now:.2f} now, {after:.2f} after the whole run, {allowed:g} allowed, at delta "
        f"{delta:g} for each {plan.privacy.unit}, add-or-remove-one-unit, accountant "
        f"{plan.privacy.accountant}"
    )
    if after > allowed:
        yield "          the run will be stopped in the round that would go beyond what is allowed"
