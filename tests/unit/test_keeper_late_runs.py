"""A start whose answer got lost, and whose run appears only after it was looked for."""

from collections.abc import Callable
from pathlib import Path

import pytest

from fedloom.server.deploy.events import EventLog
from fedloom.server.deploy.home import ServerHome
from fedloom.server.deploy.keeper import Keeper
from fedloom.server.deploy.starting import stop_run
from fedloom.server.deploy.wanted import read_wanted
from fedloom.server.run.folder import RunFolder
from fedloom.shared.errors import DeployError
from tests.support.flower_server import FlowerServer, state, want


@pytest.fixture
def home(tmp_path: Path) -> ServerHome:
    return ServerHome(tmp_path)


def a_late_run(home: ServerHome) -> tuple[RunFolder, FlowerServer, Callable[[float], None]]:
    """Flower's run 1, which nobody knows of, and 2, which it keeps out of the run's folder; and a
    look of the keeper at a time."""
    folder, flower = want(home, "one"), FlowerServer(answers_get_lost=True)
    now = 0.0
    keeper = Keeper(home, flower, "app", clock=lambda: now)

    def look(at: float) -> None:
        nonlocal now
        now = at
        keeper.tend()

    with pytest.raises(DeployError):
        look(0.0)
    late = flower.runs["1"]
    # It is not to be seen yet.
    flower.end("1")
    flower.answers_get_lost = False
    look(1.0)
    look(6.0)
    flower.runs["1"] = late
    assert read_wanted(folder).flower_run == "2"
    return folder, flower, look


def test_it_is_found_once_another_is_kept_out_by_it(home: ServerHome) -> None:
    folder, flower, look = a_late_run(home)
    EventLog.of(folder).note("refused", "run folder: in use by another process")
    flower.end("2")
    look(7.0)
    look(8.0)
    assert (flower.at_work, read_wanted(folder).flower_run) == (["one"], "1")
    stop_run(home, "one")
    look(9.0)
    assert flower.at_work == []


@pytest.mark.parametrize("second", ["lasts", "failed"])
def test_it_does_not_outlive_a_stop(home: ServerHome, second: str) -> None:
    folder, flower, look = a_late_run(home)
    if second == "failed":
        flower.end("2")
        look(7.0)
        assert read_wanted(folder).flower_run is None
    stop_run(home, "one")
    for at in (8.0, 9.0, 10.0):
        look(at)
    assert flower.at_work == []
    assert (state(folder), read_wanted(folder).flower_run) == ("stopped", None)
    asked = flower.calls.count("lasting")
    look(11.0)
    assert flower.calls.count("lasting") == asked, "and then no more"
