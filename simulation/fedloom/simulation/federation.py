"""One run in simulation: the two Flower apps over the in-process Grid."""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from flwr.app import Context, RecordDict
from flwr.app.user_config import UserConfig

from fedloom.client.site.config import CacheSettings, SiteConfig, SourceSettings, SplitSettings
from fedloom.client.site.policy.document import (
    AllowSection,
    ApprovalSection,
    BudgetSection,
    LimitsSection,
    Policy,
    ReleaseSection,
)
from fedloom.server.app import OpenedRun, make_server_app
from fedloom.server.initial import save_adapter
from fedloom.server.parties import TrustedParties
from fedloom.server.run.checkpoint import read_checkpoint
from fedloom.server.run.folder import RunFolder
from fedloom.server.strategy import RoundObserver
from fedloom.shared.adapter import Adapter
from fedloom.shared.config.data import SiteSection
from fedloom.shared.config.privacy import LEAST_NOISE
from fedloom.shared.errors import PlanError
from fedloom.shared.files import write_durably
from fedloom.shared.plan import differences
from fedloom.shared.privacy.accounting import ARITHMETIC_SLACK
from fedloom.simulation.executors.base import Executor
from fedloom.simulation.executors.pool import PoolExecutor
from fedloom.simulation.grid import RUN_ID, InProcessGrid
from fedloom.simulation.ledgers import check_ledgers, keep_first_heads, ledger_at
from fedloom.simulation.prepare import Prepared, source_of
from fedloom.simulation.site_app import SITE_SETTINGS

CLIENT_APP = "fedloom.simulation.site_app:app"


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """How a run is carried out; none of it changes what is released.

    `cache` is where sites keep hidden states for later runs; without it, for this run alone.
    `sites` is a folder of sites that outlast the run: the policy and the ledger of
    a site that is there already are its own and stay. `asked` are files that say what else is asked
    of the run, written before it begins or goes on.
    """

    resume: bool = False
    cache: Path | None = None
    sites: Path | None = None
    observers: Sequence[RoundObserver] = ()
    asked: Mapping[Path, str] = field(default_factory=dict)


def default_workers(sites: int) -> int:
    """As many worker processes as this process may use cores, and no more than sites."""
    return max(1, min(len(os.sched_getaffinity(0)), sites))


@contextmanager
def worker_pool(*, sites: int, workers: int | None = None) -> Iterator[PoolExecutor]:
    """Worker processes that run FedLoom's ClientApp, for the length of the block."""
    with closing(PoolExecutor(CLIENT_APP, workers=workers or default_workers(sites))) as pool:
        yield pool


def run_federation(
    prepared: Prepared, folder: RunFolder, executor: Executor, options: RunOptions | None = None
) -> Adapter:
    """Run, or go on with, a plan; the final adapter, also saved as a PEFT folder.

    Raises:
        RunFolderError: the folder exists already (without `resume`), or is in use; with `resume`,
            as `check_ledgers`.
        PlanError: with `resume`, the config has changed since the run began.
        QuorumError: too few sites answered; what is durable stays.
    """
    options = options or RunOptions()
    sites = options.sites or folder.path / "sites"
    _open_folder(prepared, folder, options, sites)
    nodes = _write_sites(prepared, sites, options.cache)
    keep_first_heads(folder, sites, [site.name for site in prepared.plan.sites])
    grid = InProcessGrid(nodes, executor)
    context = Context(run_id=RUN_ID, node_id=0, node_config={}, state=RecordDict(), run_config={})
    run = OpenedRun(
        folder=folder,
        model=prepared.model,
        start=prepared.config.lora.start,
        parties=TrustedParties(),
        heads=heads_beside(options.sites),
    )
    make_server_app(lambda _: run, *options.observers)(grid, context)
    plan = prepared.plan
    final = read_checkpoint(folder.checkpoints, plan.rounds.total, plan.sha256)
    save_adapter(plan, prepared.model, final, target=folder.adapter)
    return final


def heads_beside(sites: Path | None) -> Path | None:
    """Sites that outlast a run have heads that do."""
    return None if sites is None else sites / "heads.json"


def _open_folder(prepared: Prepared, folder: RunFolder, options: RunOptions, sites: Path) -> None:
    if not options.resume:
        folder.create(prepared.plan, prepared.config.release, asked=options.asked)
        return
    found = folder.read_plan()
    if found.sha256 != prepared.plan.sha256:
        changed = ", ".join(differences(found, prepared.plan))
        raise PlanError(
            f"run folder {folder.path}: made by another plan, {changed} changed; expected the "
            "same config, model and records"
        )
    check_ledgers(folder, sites, answers=options.sites is not None)
    for path, text in options.asked.items():
        write_durably(path, text.encode())


def _write_sites(prepared: Prepared, sites: Path, cache: Path | None) -> dict[int, UserConfig]:
    nodes: dict[int, UserConfig] = {}
    for node, site in enumerate(prepared.config.data.sites, start=1):
        home = sites / site.name
        kept = None if cache is None else cache / site.name
        # Node 0 and 1 have a meaning of their own in Flower.
        nodes[node + 1] = {SITE_SETTINGS: str(write_site(prepared, site, home, cache=kept))}
    return nodes


def write_site(
    prepared: Prepared, site: SiteSection, home: Path, *, cache: Path | None = None
) -> Path:
    """A site's settings and policy in `home`, and its ledger, begun; the path of the settings.

    A policy that is there already is the site's own and stays.
    """
    settings = _site_config(prepared, site, home)
    if cache is not None:
        kept = CacheSettings(folder=cache.resolve(), keep=True)
        settings = settings.model_copy(update={"cache": kept})
    path = home / "site.toml"
    if not path.exists():
        # Once: a ledger that is gone later was lost.
        with ledger_at(home).held(site=site.name):
            pass
    write_durably(path, settings.to_toml().encode())
    policy = home / "policy.toml"
    if not policy.exists():
        write_durably(policy, _policy(prepared, site.name).to_toml().encode())
    return path


def _site_config(prepared: Prepared, site: SiteSection, home: Path) -> SiteConfig:
    source = source_of(prepared.config, site)
    evaluation = prepared.config.evaluation
    planned = prepared.plan.site(site.name)
    return SiteConfig(
        name=site.name,
        model=prepared.model.resolve(),
        state=(home / "state").resolve(),
        declared_units=planned.declared_units,
        labels=prepared.plan.task.labels,
        source=SourceSettings(
            path=source.path.resolve(),
            text=source.text,
            label=source.label,
            unit=source.unit,
            messages=source.messages,
            group=source.group,
        ),
        split=SplitSettings(
            holdout=evaluation.holdout,
            test_fraction=evaluation.test_fraction,
            validation_fraction=evaluation.validation_fraction,
        ),
        policy=(home / "policy.toml").resolve(),
    )


def _policy(prepared: Prepared, site: str) -> Policy:
    """One person plays all sites here, so each allows just what the plan asks."""
    plan = prepared.plan
    planned, privacy = plan.site(site), plan.privacy
    return Policy(
        budget=BudgetSection(
            epsilon=(planned.epsilon or 1.0) * (1 + ARITHMETIC_SLACK),
            delta=privacy.delta,
            min_noise_multiplier=planned.noise_multiplier or LEAST_NOISE,
            min_units=1,
        ),
        limits=LimitsSection(
            max_rounds=plan.rounds.total,
            max_rounds_in_all=max(plan.rounds.total, 5000),
            max_steps=planned.steps,
            max_rank=plan.lora.rank,
            max_copies=max(plan.mitigation.rows - 1 if plan.mitigation else 0, 4),
        ),
        allow=AllowSection(
            models=(plan.model.sha256,),
            tasks=(plan.task.kind,),
            targets=plan.lora.targets,
            seeded_noise=privacy.seeded,
            without_privacy=not privacy.private,
        ),
        release=ReleaseSection(
            values=plan.metrics.values,
            min_metric_noise_multiplier=plan.metrics.noise_multiplier,
        ),
        approval=ApprovalSection(mode="automatic-within-policy"),
    )
