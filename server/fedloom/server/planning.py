"""From a config and the sites' public sizes to a plan, before anything is spent."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from fedloom.server.initial import initial_adapter
from fedloom.server.precision import decide_precision
from fedloom.server.start import read_start
from fedloom.shared.config.data import SiteSection
from fedloom.shared.config.federation import FederationConfig
from fedloom.shared.config.privacy import PrivacySection, PrivacyTerms
from fedloom.shared.config.sections import LoraSection
from fedloom.shared.config.training import TrainingSection
from fedloom.shared.errors import PlanError
from fedloom.shared.files import is_folder
from fedloom.shared.model.base import fingerprint
from fedloom.shared.phases import phase_in
from fedloom.shared.plan import AggregationPlan, ModelPlan, Plan, RoundsPlan, SitePlan
from fedloom.shared.privacy.accounting import ACCOUNTANTS, Mechanism
from fedloom.shared.privacy.calibration import solve_noise_multiplier
from fedloom.shared.privacy.mechanisms import mechanisms_of, metrics_in


def make_plan(config: FederationConfig, *, model: Path, units: Mapping[str, int]) -> Plan:
    """Decide every number of a run. `units` has each site's declared number of privacy units.

    Raises:
        PlanError: a site is smaller than the expected batch, delta is too large for a site, or
            no noise gives the epsilon, or the model has no head for head rounds.
        ModelError: the start does not fit the model; or it cannot be loaded, which is tried for
            a start and for head rounds only.
    """
    sites = config.data.sites
    _check_sizes(config, units)
    aggregation = config.aggregation
    start = config.lora.start
    method = aggregation.method or ("ffa-lora" if config.privacy.private else "fedit")
    plan = Plan(
        name=config.federation.name,
        model=ModelPlan(
            name=_model_name(config.model.path),
            sha256=fingerprint(model),
            max_length=config.model.max_length,
            quantization=config.model.quantization,
        ),
        task=config.task,
        lora=LoraSection(**config.lora.model_dump(exclude={"start"})),
        start_sha256=None if start is None else read_start(start, config.lora).sha256,
        privacy=PrivacyTerms(**config.privacy.model_dump()),
        training=_decided(config.training),
        aggregation=AggregationPlan(
            method=method,
            weights=aggregation.weights,
            server_momentum=aggregation.server_momentum,
            max_update_norm=aggregation.max_update_norm,
        ),
        rounds=RoundsPlan(
            total=config.rounds.total,
            quorum=config.rounds.quorum or len(sites) // 2 + 1,
            deadline_seconds=config.rounds.deadline_seconds,
        ),
        metrics=config.metrics,
        mitigation=config.mitigation,
        sites=tuple(_site_plan(config, site, units[site.name]) for site in sites),
    )
    if start is not None or plan.training.head_rounds:
        phase_in(plan, 1).layout(initial_adapter(plan, model, start).layout)
    return plan


def _decided(training: TrainingSection) -> TrainingSection:
    if training.precision != "auto":
        return training
    return training.model_copy(update={"precision": decide_precision()})


def _model_name(reference: str) -> str:
    # A hub id is a name; of a local folder, only its last part means anything elsewhere.
    return Path(reference).resolve().name if is_folder(Path(reference)) else reference


def _site_plan(config: FederationConfig, site: SiteSection, units: int) -> SitePlan:
    batch = config.training.expected_batch_size
    steps = config.training.steps_through(config.rounds.total)
    rate = batch / units
    noise, epsilon = 0.0, None
    if config.privacy.private:
        _check_delta(config.privacy, site.name, units)
        beside = metrics_in(config.metrics, range(1, config.rounds.total + 1))
        noise, epsilon = _noise_and_epsilon(config.privacy, rate=rate, steps=steps, beside=beside)
    return SitePlan(
        name=site.name,
        declared_units=units,
        sample_rate=rate,
        noise_multiplier=noise,
        steps=steps,
        epsilon=epsilon,
    )


def _check_sizes(config: FederationConfig, units: Mapping[str, int]) -> None:
    batch = config.training.expected_batch_size
    names = [site.name for site in config.data.sites]
    small = [f"site {name}: {units[name]}" for name in names if units[name] < batch]
    if small:
        raise PlanError(
            f"{'; '.join(small)} privacy units to train on (others are held out), expected at "
            f"least training.expected_batch_size = {batch}; more records, or a smaller batch"
        )


def noise_to_signal(plan: Plan, site: SitePlan, trained: int) -> float:
    """How much noise a step of one site holds for the most that its gradients can say.

    The noise's expected norm over `trained` numbers, divided by the norm of a sum in which
    every unit of the expected batch pulls the same way. Above 1, little can be learned.
    """
    batch = plan.training.expected_batch_size
    return site.noise_multiplier * math.sqrt(trained) / batch


def _check_delta(privacy: PrivacySection, site: str, units: int) -> None:
    if privacy.delta * units >= 1:
        raise PlanError(
            f"site {site}: delta {privacy.delta:g} with {units} privacy units lets a whole "
            f"unit leak; expected delta below {1 / units:.2g}"
        )


def _noise_and_epsilon(
    privacy: PrivacySection, *, rate: float, steps: int, beside: Sequence[Mechanism]
) -> tuple[float, float]:
    accountant = ACCOUNTANTS[privacy.accountant]
    noise = privacy.noise_multiplier
    if noise is None and privacy.epsilon is not None:
        noise = solve_noise_multiplier(
            epsilon=privacy.epsilon,
            delta=privacy.delta,
            sample_rate=rate,
            steps=steps,
            accountant=accountant,
            beside=beside,
        )
    if noise is None:
        raise PlanError("privacy: neither epsilon nor noise_multiplier, expected one")
    mechanism = Mechanism(noise_multiplier=noise, sample_rate=rate, steps=steps)
    return noise, accountant([mechanism, *beside], privacy.delta)


def epsilon_by_round(plan: Plan) -> Mapping[str, tuple[float, ...]]:
    """Each site's epsilon after each round, metrics included; empty without privacy."""
    if not plan.privacy.private:
        return {}
    accountant = ACCOUNTANTS[plan.privacy.accountant]
    delta = plan.privacy.delta

    def after(site: SitePlan, rounds: int) -> float:
        return accountant(mechanisms_of(plan, site, range(1, rounds + 1)), delta)

    rounds = range(1, plan.rounds.total + 1)
    return {site.name: tuple(after(site, number) for number in rounds) for site in plan.sites}
