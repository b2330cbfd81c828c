"""The deployed ServerApp believes nothing that a Flower run's config says."""

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from flwr.superlink.grid import http_grid

from fedloom.server.deploy import app as module
from fedloom.server.deploy.app import main
from fedloom.server.deploy.events import EventLog
from fedloom.server.deploy.home import ServerHome
from fedloom.server.deploy.processes import HOME
from fedloom.server.deploy.wanted import change_wanted
from fedloom.server.run.folder import RunFolder
from fedloom.server.strategy import RoundObserver
from fedloom.shared.errors import FedLoomError, ModelError, PlanError, QuorumError, RunFolderError
from fedloom.shared.keys import SigningKey
from tests.support.flower_server import kinds, want
from tests.support.training import make_plan


@pytest.fixture
def folder(
    tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[RunFolder]:
    import logging

    home, plan = ServerHome(tmp_path), make_plan(tiny_model)
    SigningKey.generate().keep(home.coordinator_key)
    home.logs.mkdir()
    found = want(home, "one", plan_sha256=plan.sha256)
    found.plan.write_text(plan.to_toml())
    monkeypatch.setenv(HOME, str(tmp_path))
    own = logging.getLogger("fedloom")
    before = own.handlers, own.level, own.propagate
    usual = http_grid.pull_objects
    yield found
    http_grid.pull_objects = usual
    own.handlers, own.level, own.propagate = before


def run(folder: RunFolder, **config: object) -> None:
    usual = {"run": "one", "plan": folder.read_plan().sha256}
    main(None, SimpleNamespace(run_config=usual | config, run_id=1))  # type: ignore[arg-type]


def ran(monkeypatch: pytest.MonkeyPatch, error: FedLoomError | None = None) -> list[object]:
    done: list[object] = []

    def run_plan(_: object, opened: object, *observers: object) -> None:
        done.append(opened)
        if error is not None:
            raise error

    monkeypatch.setattr(module, "run_held_plan", run_plan)
    monkeypatch.setattr(module, "finish", lambda opened, seconds: done.append(seconds))
    return done


def test_the_wanted_plan_is_run_and_finished(
    folder: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = ran(monkeypatch)
    run(folder)
    assert len(done) == 2
    assert kinds(folder) == []


@pytest.mark.parametrize("name", ["../one", "", "one/..", "/", None, 7, "a" * 65])
def test_a_name_leads_nowhere_else(
    folder: RunFolder, name: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = ran(monkeypatch)
    with pytest.raises(FedLoomError):
        run(folder, run=name)
    assert not done


def test_another_plans_hash_is_refused_and_the_wanted_run_is_not_given_up(
    folder: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a Flower run of somebody else's would end the coordinator's."""
    done = ran(monkeypatch)
    for claimed in ("ab" * 32, "", 7):
        with pytest.raises(RunFolderError, match="somebody else"):
            run(folder, plan=claimed)
    assert kinds(folder) == ["refused"] * 3
    assert not done


def test_a_plan_that_was_altered_since_is_given_up(
    folder: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Trying again mends no file: it would be tried every five minutes for ever."""
    done = ran(monkeypatch)
    text = folder.plan.read_text()
    folder.plan.write_text(text.replace('name = "north"', 'name = "south"'))
    with pytest.raises(PlanError):
        run(folder)
    assert kinds(folder) == ["given-up"]
    assert not done


@pytest.mark.parametrize("state", ["stopped", "given-up", "finished"])
def test_what_is_not_wanted_is_not_run(
    folder: RunFolder, state: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = ran(monkeypatch)
    change_wanted(folder, state=state)
    with pytest.raises(RunFolderError, match="expected one that is wanted"):
        run(folder)
    assert not done


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (QuorumError(1, accepted=1, quorum=2, faults="x"), "failed"),
        (RunFolderError("in use by another process"), "refused"),
        (ModelError("another model"), "given-up"),
        (PlanError("another plan"), "given-up"),
    ],
)
def test_only_what_trying_again_mends_is_tried_again(
    folder: RunFolder, error: FedLoomError, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran(monkeypatch, error)
    with pytest.raises(type(error)):
        run(folder)
    assert kinds(folder) == [kind]


@pytest.mark.parametrize(
    ("faults", "then"),
    [
        ("a: no answer before the deadline", "tries again (a: no"),
        ("a: not connected; b: refused: epsilon", "tries again, in case stewards allow it; "),
        ("a: waits for its steward (approval)", "fedloom server stop one ends it (a: waits"),
    ],
)
def test_what_comes_next_is_said_as_it_is_in_a_deployment(
    folder: RunFolder, faults: str, then: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The keeper goes on by itself: nobody need resume anything."""
    ran(monkeypatch, QuorumError(2, accepted=0, quorum=2, faults=f"{faults}{'; x: y' * 100}"))
    with pytest.raises(QuorumError, match="--resume goes on"):
        run(folder)
    (event,) = EventLog.of(folder).events()
    assert event.detail.startswith("round 2: 0 of 2 needed updates accepted; the keeper tries")
    assert then in event.detail and "--resume" not in event.detail


def test_a_run_that_is_stopped_ends_before_its_next_round(
    folder: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether or not Flower was told to end it."""
    rounds: list[int] = []
    layout = SimpleNamespace(layout=SimpleNamespace(nbytes=1))

    def run_plan(_: object, opened: object, observe: RoundObserver, *__: RoundObserver) -> None:
        for number in range(4):
            observe(number, layout, None if number == 0 else rounds)  # type: ignore[arg-type]
            rounds.append(number + 1)
            if number == 1:
                change_wanted(folder, state="stopped")

    monkeypatch.setattr(module, "run_held_plan", run_plan)
    monkeypatch.setattr(module, "finish", lambda *_, **__: pytest.fail("finished"))
    with pytest.raises(RunFolderError, match="stopped, expected one that is wanted"):
        run(folder)
    assert rounds == [1, 2]
    assert kinds(folder) == ["refused"]
