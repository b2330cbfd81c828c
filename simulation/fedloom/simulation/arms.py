"""The arms of the comparison, each a federation of its own or a baseline that trains nothing."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Literal, get_args

from fedloom.server.planning import make_plan
from fedloom.shared.config.federation import FederationConfig
from fedloom.shared.config.privacy import MetricsSection, PrivacySection
from fedloom.simulation.prepare import Prepared, decided_as_before

ArmKind = Literal["non-private", "mitigated", "alone"]
ARM_KINDS: tuple[ArmKind, ...] = get_args(ArmKind)

_ARMS_IN_WORDS: Mapping[ArmKind, str] = MappingProxyType(
    {
        "non-private": "the same federation without privacy",
        "mitigated": "the same federation with mitigation at its sites",
        "alone": "each site training alone under the same privacy",
    }
)


@dataclass(frozen=True, kw_only=True)
class TrainedArm:
    """A federation beside the main one: `name` is also its folder's name."""

    name: str
    kind: ArmKind
    description: str
    prepared: Prepared


def arms_beside(prepared: Prepared, kind: ArmKind) -> Iterator[TrainedArm]:
    """The federations that an arm of `kind` stands for."""
    yield from _MAKERS[kind](prepared)


def left_out(prepared: Prepared, asked: Sequence[ArmKind], *, how_to_run_all: str) -> list[str]:
    """A line for each kind of arm that could stand beside the federation and was not asked for."""
    return [
        f"{_ARMS_IN_WORDS[kind]}: not run here, {how_to_run_all} runs it"
        for kind in ARM_KINDS
        if kind not in asked and any(True for _ in arms_beside(prepared, kind))
    ]


def _non_private(prepared: Prepared) -> Iterator[TrainedArm]:
    """The same federation without clipping and noise, at its own learning rate if it has one."""
    if not prepared.plan.privacy.private:
        return
    config, privacy = prepared.config, prepared.config.privacy
    plain = PrivacySection(
        mode="none", unit=privacy.unit, unit_cap=privacy.unit_cap, noise_seed=privacy.noise_seed
    )
    method = prepared.plan.aggregation.method
    aggregation = config.aggregation.model_copy(update={"method": method})
    rate = config.evaluation.non_private_learning_rate
    head_rate = config.evaluation.non_private_head_learning_rate
    # Without clipping a gradient keeps its own size, so the best rate is another one.
    training = config.training.model_copy(
        update={"learning_rate": rate, "head_learning_rate": head_rate} if rate else {}
    )
    variant = config.model_copy(
        update={"privacy": plain, "aggregation": aggregation, "training": training}
    )
    yield TrainedArm(
        name="non-private",
        kind="non-private",
        description=f"no clipping, no noise; learning rate {training.learning_rate:g}",
        prepared=_planned(prepared, variant),
    )


def _mitigated(prepared: Prepared) -> Iterator[TrainedArm]:
    """The same federation under the same epsilon, with mitigation at its sites."""
    mitigation = prepared.config.evaluation.mitigation
    if mitigation is None:
        return
    variant = prepared.config.model_copy(update={"mitigation": mitigation})
    yield TrainedArm(
        name="mitigated",
        kind="mitigated",
        description=f"same privacy; each record's loss {', '.join(mitigation.in_words)}",
        prepared=_planned(prepared, variant),
    )


def _each_alone(prepared: Prepared) -> Iterator[TrainedArm]:
    if len(prepared.plan.sites) > 1:
        for site in prepared.plan.sites:
            yield _alone(prepared, site.name)


def _alone(prepared: Prepared, name: str) -> TrainedArm:
    """One site on its own records, under the same epsilon."""
    config = prepared.config
    sites = tuple(site for site in config.data.sites if site.name == name)
    variant = config.model_copy(
        update={
            "data": config.data.model_copy(update={"sites": sites}),
            "rounds": config.rounds.model_copy(update={"quorum": None}),
        }
    )
    return TrainedArm(
        name=f"alone-{name}",
        kind="alone",
        description=f"{name} alone, same privacy",
        prepared=_planned(prepared, variant),
    )


def _planned(prepared: Prepared, config: FederationConfig) -> Prepared:
    units = {site.name: site.declared_units for site in prepared.plan.sites}
    # A site alone has nobody to tell, and without privacy it may not; all are scored in the clear.
    config = config.model_copy(update={"metrics": MetricsSection()})
    config = decided_as_before(config, prepared.plan)
    plan = make_plan(config, model=prepared.model, units=units)
    return replace(prepared, config=config, plan=plan)


_MAKERS: Mapping[ArmKind, Callable[[Prepared], Iterator[TrainedArm]]] = MappingProxyType(
    {"non-private": _non_private, "mitigated": _mitigated, "alone": _each_alone}
)
