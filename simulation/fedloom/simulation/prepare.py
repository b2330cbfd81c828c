"""Reads all sites' records once, counts them, and makes the plan: nothing is spent yet."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from fedloom.server.planning import make_plan
from fedloom.shared.config.federation import FederationConfig
from fedloom.shared.config.sections import SiteSection
from fedloom.shared.data.records import Record, RecordSource, count_units, read_records
from fedloom.shared.data.split import Split
from fedloom.shared.errors import DataError
from fedloom.shared.model.base import resolve_model
from fedloom.shared.plan import Plan
from fedloom.shared.words import count


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """A federation ready to run.

    `tests` are held-out records by site; `class_counts` counts training labels over all sites,
    for the majority baseline.
    """

    config: FederationConfig
    model: Path
    plan: Plan
    tests: Mapping[str, tuple[Record, ...]]
    class_counts: tuple[int, ...]


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
        PlanError: the numbers do not fit together.
    """
    model = resolve_model(config.model.path, offline=offline)
    split = split_of(config)
    units: dict[str, int] = {}
    tests: dict[str, tuple[Record, ...]] = {}
    counts = [0] * len(config.task.labels)
    for site in config.data.sites:
        records = read_records(source_of(config, site), labels=config.task.labels)
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
    plan = make_plan(config, model=model, units=units)
    return Prepared(config=config, model=model, plan=plan, tests=tests, class_counts=tuple(counts))


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
