"""Reads all sites' records once, counts them, and makes the plan: nothing is spent yet."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from fedloom.server.planning import make_plan
from fedloom.shared.config.data import SiteSection
from fedloom.shared.config.federation import FederationConfig
from fedloom.shared.data.records import Record, RecordSource, count_units, read_records
from fedloom.shared.data.split import Split
from fedloom.shared.errors import DataError, PlanError
from fedloom.shared.model.base import resolve_model
from fedloom.shared.plan import Plan
from fedloom.shared.words import any_of, count

# A column of many values is hardly one of groups; a line names no more of them.
_MOST_SHOWN = 12


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """A federation ready to run.

    `tests` are held-out records by site; `class_counts` counts training labels over all sites,
    for the majority baseline; `groups` are the values of the group column, sorted.
    """

    config: FederationConfig
    model: Path
    plan: Plan
    tests: Mapping[str, tuple[Record, ...]]
    class_counts: tuple[int, ...]
    groups: tuple[str, ...] = ()


def split_of(config: FederationConfig) -> Split:
    """The held-out split that the config asks for."""
    evaluation = config.evaluation
    return Split(
        holdout=evaluation.holdout,
        test_fraction=evaluation.test_fraction,
        validation_fraction=evaluation.validation_fraction,
    )


def source_of(config: FederationConfig, site: SiteSection) -> RecordSource:
    """Where one site's records lie."""
    data = config.data
    return RecordSource(
        path=site.path,
        text=data.text,
        label=data.label,
        unit=config.privacy.unit,
        messages=data.messages,
        group=group_column(config),
    )


def group_column(config: FederationConfig) -> str | None:
    """The column that the federation, or the arm beside it, weights records by."""
    asked = (config.mitigation, config.evaluation.mitigation)
    return next((each.group_column for each in asked if each and each.group_column), None)


def prepare(config: FederationConfig, *, offline: bool = True) -> Prepared:
    """Read, split and count every site's records, and plan.

    Raises:
        DataError: a source is wrong, or nothing of it is left to train or to test on.
        ModelError: the base model is not at hand.
        PlanError: the numbers do not fit together, or a mitigation weights a group that no record
            is of.
    """
    model = resolve_model(config.model.path, offline=offline)
    split = split_of(config)
    units: dict[str, int] = {}
    tests: dict[str, tuple[Record, ...]] = {}
    counts = [0] * len(config.task.labels)
    groups: set[str] = set()
    for site in config.data.sites:
        records = read_records(source_of(config, site), labels=config.task.labels)
        groups.update(record.group for record in records if record.group)
        training = split.training(records)
        tests[site.name] = tuple(split.held_out(records))
        if not training or not tests[site.name]:
            found = (
                f"{count(len(training), 'record')} to train on, {len(tests[site.name])} held out"
            )
            raise DataError(f"{site.path}: {found}, expected some of both")
        units[site.name] = site.declared_units or count_units(training, unit=config.privacy.unit)
        for record in training if counts else ():
            counts[record.label] += 1
    _check_weights(config, groups)
    plan = make_plan(config, model=model, units=units)
    return Prepared(
        config=config,
        model=model,
        plan=plan,
        tests=tests,
        class_counts=tuple(counts),
        groups=tuple(sorted(groups)),
    )


def _check_weights(config: FederationConfig, groups: Collection[str]) -> None:
    """Refuse a weight that no record has; groups are named, as the column was by who asks."""
    for where, asked in (
        ("mitigation", config.mitigation),
        ("evaluation.mitigation", config.evaluation.mitigation),
    ):
        if asked is None or asked.group_column is None:
            continue
        unknown = sorted(asked.weights.keys() - groups)
        if unknown:
            sites = any_of([site.name for site in config.data.sites])
            raise PlanError(
                f"{where}.weights {', '.join(unknown)}: no record of {sites} is of "
                f"{asked.group_column} {any_of(unknown)}, there is {_listed(groups)}"
            )


def _listed(groups: Collection[str]) -> str:
    more = "" if len(groups) <= _MOST_SHOWN else f" and {len(groups) - _MOST_SHOWN} more"
    return ", ".join(sorted(groups)[:_MOST_SHOWN]) + more if groups else "none"


def planned(config: FederationConfig, *, offline: bool = True) -> tuple[Path, Plan]:
    """The base model's folder and the plan; without the records where each site declares its size.

    Raises:
        DataError, ModelError, PlanError: as `prepare`.
    """
    if config.data.undeclared:
        prepared = prepare(config, offline=offline)
        return prepared.model, prepared.plan
    model = resolve_model(config.model.path, offline=offline)
    units = {site.name: site.declared_units or 0 for site in config.data.sites}
    return model, make_plan(config, model=model, units=units)


def decided_as_before(config: FederationConfig, plan: Plan) -> FederationConfig:
    """The config with what planning had left to measure taken from the plan that it made."""
    if config.training.precision != "auto":
        return config
    training = config.training.model_copy(update={"precision": plan.training.precision})
    return config.model_copy(update={"training": training})
