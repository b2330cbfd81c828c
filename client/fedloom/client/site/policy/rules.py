"""The rules, each a function that refuses by the rule's name; none sees a record."""

from collections.abc import Callable, Sequence

from fedloom.client.site.policy.asked import Asked
from fedloom.client.site.policy.privacy_rules import check_privacy
from fedloom.shared.errors import SiteRefusal

Rule = Callable[[Asked], None]


def check_task(asked: Asked) -> None:
    """Refuse a task that the site's settings, its policy or its remaining budget do not cover.

    Guarantee: after this returns, releasing the task's round keeps the site's cumulative
    epsilon, for its privacy unit and over every charge in `facts.spent`, at or below
    `budget.epsilon` at the plan's delta, itself at most `budget.delta`; and the plan's whole
    run, by itself, at or below `budget.epsilon_per_run`; metrics count with the rest. Noise,
    sample rate and steps are the site's own recomputation, never the server's word.

    Raises:
        SiteRefusal: naming the rule, what was asked and what is allowed.
    """
    check_plan(asked)
    _begins_where_the_plan_says(asked)


def check_plan(asked: Asked) -> None:
    """What of `check_task` asks for nothing but the plan: for who is to agree to it beforehand.

    Raises:
        SiteRefusal: naming the rule, what was asked and what is allowed.
    """
    for rule in RULES:
        rule(asked)


def _is_this_sites(asked: Asked) -> None:
    task, name = asked.task, asked.config.name
    if task.site != name:
        raise SiteRefusal("site-name", asked=task.site, allowed=name)
    if task.round > asked.last_round:
        raise SiteRefusal("round", asked=task.round, allowed=asked.last_round)


def _has_this_sites_model(asked: Asked) -> None:
    wanted, own = asked.plan.model.sha256, asked.facts.model_sha256
    if own != wanted:
        raise SiteRefusal("base-model", asked=wanted, allowed=own)
    models = asked.policy.allow.models
    if models and wanted not in models:
        raise SiteRefusal("allowed-models", asked=wanted, allowed=", ".join(models))


def _begins_where_the_plan_says(asked: Asked) -> None:
    start, found = asked.plan.start_sha256, asked.task.adapter.sha256
    if asked.task.round == 1 and start is not None and found != start:
        raise SiteRefusal("start", asked=found, allowed=start)


def _has_this_sites_labels(asked: Asked) -> None:
    labels = asked.plan.task.labels
    if labels != asked.config.labels:
        # A label set of the server's choosing would ask which labels the records hold.
        raise SiteRefusal("labels", asked=labels, allowed=asked.config.labels)


def _is_an_allowed_task(asked: Asked) -> None:
    allow, kind = asked.policy.allow, asked.plan.task.kind
    if kind not in allow.tasks:
        raise SiteRefusal("allowed-tasks", asked=kind, allowed=", ".join(allow.tasks))
    targets = asked.plan.lora.targets
    if allow.targets and not (targets and set(targets) <= set(allow.targets)):
        named = ", ".join(targets) or "the model's own"
        raise SiteRefusal("allowed-targets", asked=named, allowed=", ".join(allow.targets))


def _mitigates_as_allowed(asked: Asked) -> None:
    """Which column parts people into groups is for the site to say, as with the unit."""
    mitigation, own = asked.plan.mitigation, asked.config.source.group
    if mitigation is None:
        return
    if not asked.policy.allow.mitigation:
        raise SiteRefusal("mitigation", asked="; ".join(mitigation.in_words), allowed="none")
    if mitigation.group_column not in (None, own):
        raise SiteRefusal("group-column", asked=mitigation.group_column, allowed=own or "none")


def _releases_no_more(asked: Asked) -> None:
    release, metrics = asked.policy.release, asked.plan.metrics
    if not set(metrics.values) <= set(release.values):
        allowed = ", ".join(release.values) or "none"
        raise SiteRefusal("released-values", asked=", ".join(metrics.values), allowed=allowed)
    noise, least = metrics.noise_multiplier, release.min_metric_noise_multiplier
    if metrics.values and not noise >= least:
        raise SiteRefusal("metric-noise", asked=noise, allowed=f"at least {least}")


def _is_within_limits(asked: Asked) -> None:
    limits, plan = asked.policy.limits, asked.plan
    for rule, wanted, most in (
        ("max-rounds", plan.rounds.total, limits.max_rounds),
        ("max-rounds-in-all", asked.facts.spent.rounds + 1, limits.max_rounds_in_all),
        ("max-steps", asked.run_steps, limits.max_steps),
        ("max-rank", plan.lora.rank, limits.max_rank),
        ("max-copies", plan.mitigation.rows - 1 if plan.mitigation else 0, limits.max_copies),
    ):
        if wanted > most:
            raise SiteRefusal(rule, asked=wanted, allowed=most)


def _counts_as_this_site_does(asked: Asked) -> None:
    site, own = asked.site, asked.config
    if site.declared_units != own.declared_units:
        raise SiteRefusal("declared-units", asked=site.declared_units, allowed=own.declared_units)
    rate = asked.plan.training.expected_batch_size / own.declared_units
    if site.sample_rate != rate:
        raise SiteRefusal("sample-rate", asked=site.sample_rate, allowed=rate)
    if site.steps != asked.run_steps:
        raise SiteRefusal("steps", asked=site.steps, allowed=asked.run_steps)
    unit = asked.plan.privacy.unit
    if unit != own.source.unit:
        raise SiteRefusal("privacy-unit", asked=unit, allowed=own.source.unit)


def _is_private_if_it_must_be(asked: Asked) -> None:
    if asked.plan.privacy.private:
        check_privacy(asked)
    elif not asked.policy.allow.without_privacy:
        raise SiteRefusal("private-training", asked="none", allowed="dp-sgd")


RULES: Sequence[Rule] = (
    _is_this_sites,
    _has_this_sites_model,
    _has_this_sites_labels,
    _is_an_allowed_task,
    _mitigates_as_allowed,
    _counts_as_this_site_does,
    _is_within_limits,
    _releases_no_more,
    _is_private_if_it_must_be,
)
