"""The whole deployment on loopback, as its people would run it: real processes, real sockets."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from fedloom.server.run.checkpoint import read_checkpoint
from fedloom.server.run.folder import RunFolder
from fedloom.shared.config.federation import read_federation
from fedloom.shared.model.card import AdapterCard
from fedloom.simulation.executors.serial import SerialExecutor
from fedloom.simulation.federation import run_federation
from fedloom.simulation.prepare import prepare
from fedloom.simulation.site_app import app
from tests.support.deployed import SITES, Deployment, deployment

pytestmark = pytest.mark.slow
ROUNDS = 3


@pytest.fixture(scope="module")
def done() -> Iterator[tuple[Deployment, str]]:
    """A run of three rounds, from kits to its report."""
    with deployment(rounds=ROUNDS) as deployed:
        deployed.up("server")
        for site in SITES:
            deployed.up(site)
        name = deployed.run()
        deployed.wait(lambda: deployed.state(name) != "wanted", "the run's end")
        yield deployed, name


def test_a_deployed_run_gives_the_simulations_adapter_byte_for_byte(
    done: tuple[Deployment, str], tmp_path: Path
) -> None:
    deployed, name = done
    assert deployed.state(name) == "finished", deployed.everything()
    prepared = prepare(read_federation(deployed.federation))
    folder = RunFolder(deployed.folder(name))
    assert folder.read_plan().sha256 == prepared.plan.sha256
    simulated = RunFolder(tmp_path / "run")
    run_federation(prepared, simulated, SerialExecutor(app))
    for number in range(1, ROUNDS + 1):
        here, there = (
            read_checkpoint(at.checkpoints, number, prepared.plan.sha256)
            for at in (folder, simulated)
        )
        assert here.flat.tobytes() == there.flat.tobytes(), f"round {number}"
    files = [path.name for path in sorted(simulated.adapter.iterdir())]
    assert files == [path.name for path in sorted(folder.adapter.iterdir())]
    for file in ("adapter_model.safetensors", "adapter_config.json"):
        assert (folder.adapter / file).read_bytes() == (simulated.adapter / file).read_bytes()
    assert AdapterCard.read(folder.adapter) == AdapterCard.read(simulated.adapter)
