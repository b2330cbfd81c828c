"""Following a run: each round and event once and in order, and an exit code that fits the end."""

import fcntl
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from fedloom.cli import following
from fedloom.cli.following import follow
from fedloom.server.deploy.events import EventLog
from fedloom.server.deploy.home import ServerHome
from fedloom.server.deploy.starting import Begun
from fedloom.server.deploy.wanted import change_wanted
from fedloom.server.run.journal import Journal, RoundEntry
from tests.support.flower_server import want


def a_round(number: int) -> RoundEntry:
    return RoundEntry(round=number, accepted=0, seconds=1, adapter_sha256="ab", sites=())


@pytest.fixture
def home(tmp_path: Path) -> Iterator[ServerHome]:
    """A server that is up, as far as its keeper's lock says."""
    found = ServerHome(tmp_path)
    found.flower.mkdir()
    with held(found):
        yield found


@contextmanager
def held(home: ServerHome) -> Iterator[None]:
    with home.keeper_lock.open("wb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@pytest.fixture
def begun(home: ServerHome) -> Begun:
    return Begun(name="one", folder=want(home, "one"))


@pytest.fixture
def meanwhile(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """What happens while the follower sleeps, one thing each time."""
    things: list[Callable[[], object]] = []

    def add(*more: Callable[[], object]) -> None:
        things.extend(more)

    monkeypatch.setattr(following.time, "sleep", lambda _: things.pop(0)())
    yield add
    assert not things


def told(capsys: pytest.CaptureFixture[str]) -> list[str]:
    """The lines without their clocks."""
    return [line.split(" ", 1)[-1].strip() for line in capsys.readouterr().out.splitlines()]


def end(begun: Begun, state: str) -> Callable[[], None]:
    return lambda: change_wanted(begun.folder, state=state)


def test_each_round_is_told_once_and_in_order(
    home: ServerHome,
    begun: Begun,
    meanwhile: Callable[..., None],
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Also those from before, of which there may be more than nine."""
    journal, log = Journal(begun.folder.rounds), EventLog.of(begun.folder)
    log.note("started", "round 1")
    for number in range(1, 12):
        journal.append(a_round(number))
    meanwhile(
        lambda: None,
        lambda: journal.append(a_round(12)),
        # The round whose checkpoint a crash prevented is no new round.
        lambda: journal.append(a_round(12)),
        lambda: log.note("finished", "after round 12"),
        end(begun, "finished"),
    )
    assert follow(home, begun) == 0
    lines = told(capsys)
    assert lines[0] == "started: round 1"
    rounds = [line.split(":")[0] for line in lines if line.startswith("round")]
    assert rounds == [f"round {number}" for number in range(1, 13)]
    assert lines[-3] == "finished: after round 12"
    assert lines[-2].startswith(str(begun.folder.adapter))


def test_what_came_with_the_end_is_told_before_it(
    home: ServerHome,
    begun: Begun,
    meanwhile: Callable[..., None],
    capsys: pytest.CaptureFixture[str],
) -> None:
    def last_words() -> None:
        Journal(begun.folder.rounds).append(a_round(1))
        EventLog.of(begun.folder).note("given-up", "model: another")
        change_wanted(begun.folder, state="given-up")

    meanwhile(last_words)
    assert follow(home, begun) == 1
    found = told(capsys)
    assert found[0] == "given-up: model: another"
    assert found[1].startswith("round 1")


@pytest.mark.parametrize(("state", "code"), [("finished", 0), ("given-up", 1), ("stopped", 1)])
def test_the_exit_code_fits_the_end(
    home: ServerHome, begun: Begun, state: str, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    change_wanted(begun.folder, state=state)
    assert follow(home, begun) == code
    words = capsys.readouterr()
    assert ("--resume one" in words.err) == (code == 1)


def test_ctrl_c_says_that_the_run_goes_on(
    home: ServerHome,
    begun: Begun,
    meanwhile: Callable[..., None],
    capsys: pytest.CaptureFixture[str],
) -> None:
    def interrupted() -> None:
        raise KeyboardInterrupt

    meanwhile(interrupted)
    assert follow(home, begun) == 130
    said = capsys.readouterr().err
    assert "run one is wanted: the keeper goes on with it while the server is up" in said
    assert "fedloom server stop one ends it" in said


def test_a_server_that_is_not_up_is_told_once_each_time(
    tmp_path: Path, meanwhile: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    """Without a keeper nothing happens, and who follows would wait without a word."""
    home = ServerHome(tmp_path / "kits")
    home.flower.mkdir(parents=True)
    begun, up = Begun(name="one", folder=want(home, "one")), ExitStack()
    meanwhile(
        lambda: None,
        lambda: up.enter_context(held(home)),
        lambda: EventLog.of(begun.folder).note("started", "round 1"),
        up.close,
        lambda: None,
        end(begun, "finished"),
    )
    assert follow(home, begun) == 0
    said = capsys.readouterr().out.splitlines()
    (first, second) = (line for line in said if "not up" in line)
    assert (
        first == f"the server is not up: the run begins when it is (fedloom server up {home.path})"
    )
    assert second == first.replace("begins", "goes on")
