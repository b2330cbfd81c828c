"""The keeper when a ServerApp dies, and when nobody can say."""

import time
from pathlib import Path

import pytest

from fedloom.server.deploy.control import FlowerRun, NodeState
from fedloom.server.deploy.events import EventLog
from fedloom.server.deploy.home import ServerHome
from fedloom.server.deploy.keeper import Keeper
from fedloom.server.deploy.wanted import WantedRun, read_wanted, write_wanted
from fedloom.server.run.folder import RunFolder
from fedloom.shared.errors import RunFolderError
from tests.support.training import make_plan


class FakeFlower:
    """Flower's server: each run lasts until it is stopped or ended."""

    def __init__(self) -> None:
        self.runs: dict[str, FlowerRun] = {}
        self.stopped: list[str] = []

    def nodes(self) -> list[NodeState]:
        return []

    def register(self, name: str, public_key: bytes) -> None:
        raise AssertionError("no sites here")

    def unregister(self, node_id: int) -> None:
        raise AssertionError("no sites here")

    def start(self, app: str, run: str, plan_sha256: str) -> str:
        number = str(len(self.runs) + 1)
        self.runs[number] = FlowerRun(status="running", outcome="", details="")
        return number

    def run(self, number: str) -> FlowerRun | None:
        return self.runs.get(number)

    def lasting(self) -> dict[str, str]:
        return {}

    def stop(self, number: str) -> None:
        self.stopped.append(number)
        self.runs[number] = FlowerRun(status="finished", outcome="stopped", details="")


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def folder(tmp_path: Path, tiny_model: Path) -> RunFolder:
    made = ServerHome(tmp_path).run("r")
    plan = make_plan(tiny_model)
    made.create(plan)
    wanted = WantedRun(name="r", plan_sha256=plan.sha256, model=tiny_model, created=1.0)
    write_wanted(made, wanted)
    return made


def kinds(folder: RunFolder) -> list[str]:
    return [event.kind for event in EventLog.of(folder).events()]


def test_a_serverapp_that_died_is_not_waited_for(folder: RunFolder, tmp_path: Path) -> None:
    flower, clock = FakeFlower(), Clock()
    keeper = Keeper(ServerHome(tmp_path), flower, "app", clock)
    keeper.tend()
    with folder.locked(by="1"):
        for clock.now in range(1, 100):
            keeper.tend()
    assert flower.stopped == []
    began = clock.now
    while not flower.stopped:
        clock.now += 1
        keeper.tend()
    assert clock.now - began < 10
    for _ in range(10):
        clock.now += 1
        keeper.tend()
    assert read_wanted(folder).flower_run == "2"
    assert kinds(folder) == ["started", "failed", "started"]


def test_a_keeper_that_was_started_again_sees_it_too(folder: RunFolder, tmp_path: Path) -> None:
    flower = FakeFlower()
    Keeper(ServerHome(tmp_path), flower, "app", Clock()).tend()
    with folder.locked(by="1"):
        pass
    clock = Clock()
    keeper = Keeper(ServerHome(tmp_path), flower, "app", clock)
    for clock.now in range(10):
        keeper.tend()
    assert flower.stopped == ["1"]


def test_a_serverapp_that_is_still_starting_is_left_alone(
    folder: RunFolder, tmp_path: Path
) -> None:
    """The folder was held by the run before it, or by none."""
    flower, clock = FakeFlower(), Clock()
    keeper = Keeper(ServerHome(tmp_path), flower, "app", clock)
    keeper.tend()
    for clock.now in range(1, 60):
        keeper.tend()
    with folder.locked(by="7"):
        pass
    for clock.now in range(60, 120):
        keeper.tend()
    assert flower.stopped == []


def test_who_only_looks_keeps_nobody_out(
    folder: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert folder.left_by() is None
    with folder.locked(by="12345"):
        assert folder.left_by() is None
        monkeypatch.setattr("fedloom.server.run.folder._LOCK_SECONDS", 0.05)
        with pytest.raises(RunFolderError, match="in use"), folder.locked():
            pass
    assert folder.left_by() == "12345"
    began = time.monotonic()
    with folder.locked(by="6"):
        pass
    assert folder.left_by() == "6"
    assert time.monotonic() - began < 0.5
