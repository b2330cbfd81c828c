"""The Flower ServerApp: reads the run folder that the run's config names, and runs its plan."""

from collections.abc import Mapping
from pathlib import Path

from flwr.app import Context
from flwr.serverapp import Grid, ServerApp

from fedloom.server.discovery import FoundSite, discover_sites
from fedloom.server.initial import initial_adapter
from fedloom.server.remaining import tell_remaining
from fedloom.server.run.budgets import keep_budgets
from fedloom.server.run.folder import RunFolder
from fedloom.server.strategy import FedLoomStrategy, RoundObserver
from fedloom.shared.plan import Plan

RUN_FOLDER, MODEL_FOLDER, START_FOLDER = "run-folder", "model-folder", "start-folder"
# Nodes may still be loading their libraries when they are asked who they are.
DISCOVERY_SECONDS = 180.0


def make_server_app(*observers: RoundObserver) -> ServerApp:
    """A ServerApp that runs the plan in `context.run_config["run-folder"]` to its end."""
    server = ServerApp()

    @server.main()
    def main(grid: Grid, context: Context) -> None:
        folder = RunFolder(Path(str(context.run_config[RUN_FOLDER])))
        model = Path(str(context.run_config[MODEL_FOLDER]))
        start = str(context.run_config.get(START_FOLDER, ""))
        plan = folder.read_plan()
        with folder.locked():
            sites = _sites_of(plan, grid)
            keep_budgets(folder.budgets, {name: at.budget for name, at in sites.items()})
            tell_remaining(plan, sites)
            strategy = FedLoomStrategy(
                plan,
                folder,
                nodes={name: at.node for name, at in sites.items()},
                initial=initial_adapter(plan, model, Path(start) if start else None),
                observers=observers,
            )
            strategy.summary()
            strategy.start(grid)

    return server


def _sites_of(plan: Plan, grid: Grid) -> Mapping[str, FoundSite]:
    found = discover_sites(grid, deadline_seconds=DISCOVERY_SECONDS)
    return {site.name: found[site.name] for site in plan.sites if site.name in found}


app = make_server_app()
