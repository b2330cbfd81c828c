"""A keeper that dies, a server that forgets, and words that cross each other."""

from collections.abc import Callable
from pathlib import Path

import pytest

from fedloom.server.deploy import keeper as module
from fedloom.server.deploy.events import EventLog
from fedloom.server.deploy.home import ServerHome
from fedloom.server.deploy.keeper import Keeper
from fedloom.server.deploy.starting import stop_run, want_again
from fedloom.server.deploy.wanted import change_wanted, read_wanted
from fedloom.server.run.folder import RunFolder
from fedloom.shared.errors import DeployError
from tests.support.flower_server import FlowerServer, Killed, kinds, state, want


@pytest.fixture
def home(tmp_path: Path) -> ServerHome:
    return ServerHome(tmp_path)


def a_keeper(home: ServerHome, flower: FlowerServer, now: Callable[[], float] = float) -> Keeper:
    return Keeper(home, flower, "app", clock=now)


def test_a_crash_after_flowers_start_begins_no_second_run(home: ServerHome) -> None:
    folder, flower = want(home, "one"), FlowerServer(dies_after="start")
    with pytest.raises(Killed):
        a_keeper(home, flower).tend()
    assert read_wanted(folder).flower_run is None
    again = a_keeper(home, flower)
    again.tend()
    again.tend()
    assert flower.at_work == ["one"]
    assert read_wanted(folder).flower_run == "1"


def test_a_crash_after_flowers_start_does_not_outlive_a_stop(home: ServerHome) -> None:
    """Else the run goes on to its end, and the coordinator was told that it stopped."""
    folder, flower = want(home, "one"), FlowerServer(dies_after="start")
    with pytest.raises(Killed):
        a_keeper(home, flower).tend()
    stop_run(home, "one")
    a_keeper(home, flower).tend()
    assert flower.at_work == []
    assert read_wanted(folder).flower_run is None


def test_a_start_whose_answer_got_lost_is_found_again(home: ServerHome) -> None:
    folder, flower = want(home, "one"), FlowerServer(answers_get_lost=True)
    keeper = a_keeper(home, flower)
    with pytest.raises(DeployError):
        keeper.tend()
    flower.answers_get_lost = False
    keeper.tend()
    assert (flower.at_work, read_wanted(folder).flower_run) == (["one"], "1")


def test_a_start_that_is_refused_waits_and_lets_the_next_try(
    home: ServerHome, monkeypatch: pytest.MonkeyPatch
) -> None:
    want(home, "old", created=1.0)
    want(home, "young", created=2.0)
    flower = FlowerServer()
    begin = flower.start

    def start(app: str, run: str, plan: str) -> str:
        if run == "old":
            raise DeployError("Flower's server says 400")
        return begin(app, run, plan)

    monkeypatch.setattr(flower, "start", start)
    keeper = a_keeper(home, flower)
    with pytest.raises(DeployError):
        keeper.tend()
    keeper.tend()
    assert flower.at_work == ["young"]


@pytest.mark.parametrize("done", ["report", "given-up", "neither"])
def test_a_server_that_forgot_the_run_does_not_begin_what_is_at_its_end(
    home: ServerHome, done: str
) -> None:
    now = 0.0
    folder, flower = want(home, "one"), FlowerServer()
    keeper = a_keeper(home, flower, lambda: now)
    keeper.tend()
    flower.runs.clear()
    if done == "report":
        folder.report_json.write_text("{}")
    elif done == "given-up":
        EventLog.of(folder).note("given-up", "why")
    keeper.tend()
    now = 6.0
    keeper.tend()
    assert flower.at_work == (["one"] if done == "neither" else [])
    expected = {"report": "finished", "given-up": "given-up", "neither": "wanted"}
    assert state(folder) == expected[done]


@pytest.mark.parametrize("at", ["note", "change"])
def test_a_crash_while_an_end_is_noted_notes_it_once(
    home: ServerHome, at: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever follows sees `finished` before the state says so, and sees it once."""
    folder, flower = want(home, "one"), FlowerServer()
    keeper = a_keeper(home, flower)
    keeper.tend()
    folder.report_json.write_text("{}")
    flower.end("1", "completed")

    def dies(*_: object, **__: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        if at == "note":
            patch.setattr(EventLog, "note", dies)
        else:
            patch.setattr(module, "change_wanted", dies)
        with pytest.raises(Killed):
            keeper.tend()
    assert state(folder) == "wanted"
    a_keeper(home, flower).tend()
    assert state(folder) == "finished"
    assert kinds(folder) == ["started", "finished"]


class Interrupting(FlowerServer):
    """The coordinator says something while the keeper waits for Flower."""

    said: Callable[[], object] = staticmethod(lambda: None)

    def run(self, number: str) -> object:  # type: ignore[override]
        found = super().run(number)
        self.said()
        return found

    def start(self, app: str, run: str, plan_sha256: str) -> str:
        number = super().start(app, run, plan_sha256)
        self.said()
        return number


@pytest.mark.parametrize("when", ["starts", "lasts", "failed"])
def test_a_stop_is_never_lost(home: ServerHome, when: str) -> None:
    folder, flower = want(home, "one"), Interrupting()
    keeper = a_keeper(home, flower)
    if when != "starts":
        keeper.tend()
    if when == "failed":
        flower.end("1")
    flower.said = lambda: stop_run(home, "one") if state(folder) == "wanted" else None
    keeper.tend()
    keeper.tend()
    assert state(folder) == "stopped"
    assert flower.at_work == []
    assert read_wanted(folder).flower_run is None


def test_a_resume_is_never_lost(home: ServerHome) -> None:
    now = 0.0
    folder, flower = want(home, "one"), Interrupting()
    keeper = a_keeper(home, flower, lambda: now)
    keeper.tend()
    stop_run(home, "one")
    flower.said = lambda: want_again(home, "one")
    keeper.tend()
    now = 10.0
    keeper.tend()
    assert state(folder) == "wanted"
    assert flower.at_work == ["one"]


def test_changes_of_different_things_are_both_kept(home: ServerHome) -> None:
    folder: RunFolder = want(home, "one")
    change_wanted(folder, flower_run="7")
    change_wanted(folder, state="stopped")
    assert (read_wanted(folder).state, read_wanted(folder).flower_run) == ("stopped", "7")
