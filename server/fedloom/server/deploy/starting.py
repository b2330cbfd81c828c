"""From a federation's config to a wanted run: planned from public sizes alone."""

import time
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from fedloom.server.deploy.events import EventLog
from fedloom.server.deploy.home import ServerHome
from fedloom.server.deploy.wanted import WantedRun, held_wanted, write_wanted
from fedloom.server.evaluator.promises import check_promises
from fedloom.server.planning import make_plan
from fedloom.server.run.folder import RunFolder
from fedloom.shared.config.federation import FederationConfig
from fedloom.shared.errors import ConfigError, PlanError, RunFolderError
from fedloom.shared.model.base import resolve_model

# A run's name is a name as any other, 64 letters at most, 16 of them its date.
_MOST_LETTERS = 48


@dataclass(frozen=True, kw_only=True)
class Begun:
    """A run that is wanted now, and its folder; `note` is what the coordinator should know."""

    name: str
    folder: RunFolder
    note: str | None = None


def want_run(home: ServerHome, config: FederationConfig, *, offline: bool = True) -> Begun:
    """Plan a run and write it down; the keeper starts it.

    Raises:
        PlanError: a site's size is not declared, a site has no kit, or the numbers do not fit.
        ModelError: the base model is not at hand.
        ConfigError: the suite of audits is wrong, its records are missing, or it lacks what the
            release's rules ask for.
    """
    units = _declared(config)
    _check_sites(home, config)
    check_promises(config)
    model = resolve_model(config.model.path, offline=offline)
    plan = make_plan(config, model=model, units=units)
    name = f"{plan.name[:_MOST_LETTERS]}-{datetime.now().astimezone():%Y%m%d-%H%M%S}"
    folder = home.run(name)
    start, suite = config.lora.start, config.evaluation.suite
    folder.create(plan, config.release, asked=_kept(folder, suite))
    write_wanted(
        folder,
        WantedRun(
            name=name,
            plan_sha256=plan.sha256,
            model=model.resolve(),
            start=None if start is None else start.resolve(),
            suite=None if suite is None else suite.resolve(),
            every=config.evaluation.every,
            created=time.time(),
        ),
    )
    return Begun(name=name, folder=folder)


def _kept(folder: RunFolder, suite: Path | None) -> dict[Path, str]:
    if suite is None:
        return {}
    # Audits bring libraries that take seconds: only who names a suite waits for them.
    from fedloom.server.evaluator.kept_suite import kept_text
    from fedloom.server.evaluator.suite import read_suite

    asked = read_suite(suite)
    if asked.records is not None and not asked.records.path.is_file():
        problem = f"records.path: no file {asked.records.path}, expected the records to evaluate on"
        raise ConfigError(str(suite), [problem])
    return {folder.suite: kept_text(asked)}


def want_again(home: ServerHome, name: str) -> Begun:
    """Let a run that was stopped or given up go on, with the suite that it began with.

    Raises:
        RunFolderError: there is none of that name, or it is finished.
    """
    folder = home.run(name)
    with held_wanted(folder) as wanted:
        if wanted.state == "finished":
            raise RunFolderError(f"run {name}: finished, expected one that can go on")
        if wanted.state != "wanted":
            EventLog.of(folder).note("resumed", "by the coordinator")
            write_wanted(folder, wanted.model_copy(update={"state": "wanted"}))
    return Begun(name=name, folder=folder, note=_unlike_kept(folder, wanted.suite))


def _unlike_kept(folder: RunFolder, suite: Path | None) -> str | None:
    if suite is None:
        return None
    from fedloom.server.evaluator.kept_suite import unlike_kept

    return unlike_kept(folder, suite)


def stop_run(home: ServerHome, name: str) -> None:
    """Let a run not go on; its rounds stay.

    Raises:
        RunFolderError: there is none of that name, or it is not going on.
    """
    folder = home.run(name)
    with held_wanted(folder) as wanted:
        if wanted.state != "wanted":
            raise RunFolderError(f"run {name}: {wanted.state}, expected one that goes on")
        EventLog.of(folder).note("stopped", "by the coordinator")
        write_wanted(folder, wanted.model_copy(update={"state": "stopped"}))


def undeclared(config: FederationConfig) -> str | None:
    """Which sites have no public size, in words; None if all have."""
    missing = config.data.undeclared
    if not missing:
        return None
    return (
        f"data.sites {', '.join(missing)}: no declared_units, expected the public number that "
        "each site tells (declared_units in its site.toml); its records are not read here"
    )


def _declared(config: FederationConfig) -> dict[str, int]:
    if problem := undeclared(config):
        raise PlanError(problem)
    return {site.name: site.declared_units or 0 for site in config.data.sites}


def _check_sites(home: ServerHome, config: FederationConfig) -> None:
    known = home.sites()
    missing = [site.name for site in config.data.sites if site.name not in known]
    if missing:
        raise PlanError(
            f"data.sites {', '.join(missing)}: no kit, expected sites of this server "
            "(fedloom provision)"
        )
