"""The whole deployment on loopback, as its people would run it: real processes, real sockets."""

import json
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from fedloom.server.deploy.home import ServerHome
from fedloom.server.evaluator.evaluation import Evaluation
from fedloom.server.release.verify import verify_release
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
        lines: set[str] = set()

        def ended() -> bool:
            lines.update(deployed.commands())
            return deployed.state(name) != "wanted"

        deployed.wait(ended, "the run's end")
        (deployed.home / "commands").write_text("\n".join(sorted(lines)))
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


def test_the_adapter_is_evaluated_on_the_coordinators_own_records_and_decided_on(
    done: tuple[Deployment, str],
) -> None:
    """Seeded noise protects nobody, so that no figure may release it."""
    deployed, name = done
    run = deployed.folder(name)
    found = Evaluation.read(run / "evaluation.json")
    assert found.subject.audits[0].figures[0].records == 40
    assert "held by private-noise" in deployed.fedloom("release", run, ok=False)
    (record,) = run.glob("held-*")
    key = ServerHome(deployed.server).coordinator().public
    verdict = verify_release(record, coordinator=key)
    assert verdict.problems == ()
    assert verdict.decision is not None
    assert [rule.name for rule in verdict.decision.held_by] == ["private-noise"]


def test_no_secret_is_ever_on_a_command_line(done: tuple[Deployment, str]) -> None:
    """Every user of a machine can read those of all processes."""
    deployed, _ = done
    lines = (deployed.home / "commands").read_text()
    assert "flwr-clientapp" in lines and "flwr-serverapp" in lines
    assert "--token " not in lines
    secrets = [
        *(deployed.server / name for name in ("control.token", "superexec.secret")),
        *(deployed.home / site / "link" / "node.secret" for site in SITES),
    ]
    assert not [path for path in secrets if path.read_text().strip() in lines]


def test_status_and_metrics_tell_the_run(done: tuple[Deployment, str]) -> None:
    deployed, name = done
    status = deployed.fedloom("server", "status", "--kit", deployed.server)
    assert "superlink up, proxy up, keeper up" in status
    assert all(f"{site}: online" in status for site in SITES)
    assert f"{name}: finished, {ROUNDS} of {ROUNDS} rounds" in status
    for port, words in (
        (deployed.port + 3, f'fedloom_run_rounds_done{{run="{name}"}} {ROUNDS}.0'),
        (deployed.node_port("site0") + 2, "fedloom_site_ledger_whole 1.0"),
    ):
        assert words in httpx.get(f"http://127.0.0.1:{port}/metrics").text


@pytest.mark.parametrize("where", ["server", "site0"])
def test_the_doctor_finds_a_party_that_is_up_well(done: tuple[Deployment, str], where: str) -> None:
    deployed, _ = done
    path = deployed.server if where == "server" else deployed.site(where)
    assert deployed.fedloom("doctor", path).rstrip().endswith("all is well")


def test_logs_are_lines_of_json_with_run_and_round(done: tuple[Deployment, str]) -> None:
    deployed, name = done
    for log, keys in (
        (deployed.server / "logs" / "serverapp.log", {"run", "round"}),
        (deployed.logs_of("site0") / "trainer.log", {"site", "round"}),
    ):
        lines = [json.loads(line) for line in log.read_text().splitlines() if line[:1] == "{"]
        assert sum(keys <= line.keys() for line in lines) >= ROUNDS
    assert name in (deployed.server / "logs" / "serverapp.log").read_text()
