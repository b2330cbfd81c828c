"""The Flower ServerApp: reads the run folder that the run's config names, and runs its plan."""

from pathlib import Path

from flwr.app import Context
from flwr.serverapp import Grid, ServerApp

from fedloom.server.discovery import discover_sites
from fedloom.server.initial import initial_adapter
from fedloom.server.run.folder import RunFolder
from fedloom.server.strategy import FedLoomStrategy, RoundObserver

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
            strategy = FedLoomStrategy(
                plan,
                folder,
                nodes=discover_sites(grid, deadline_seconds=DISCOVERY_SECONDS),
                initial=initial_adapter(plan, model, Path(start) if start else None),
                observers=observers,
            )
            strategy.summary()
            strategy.start(grid)

    return server


app = make_server_app()
