"""What the coordinator wants: written down whole or not at all, and changed by its own words."""

import threading
from pathlib import Path

import pytest
import tomli_w

from fedloom.server.deploy.events import EventLog
from fedloom.server.deploy.home import ServerHome
from fedloom.server.deploy.starting import stop_run, want_again, want_run
from fedloom.server.deploy.wanted import change_wanted, held_wanted, read_wanted, runs_of
from fedloom.shared.config.federation import FederationConfig, read_federation
from fedloom.shared.errors import CheckpointError, PlanError, RunFolderError
from tests.support.deployed import declare_units
from tests.support.flower_server import kinds, some_keys, state, want
from tests.support.tiny import write_federation


@pytest.fixture
def home(tmp_path: Path) -> ServerHome:
    found = ServerHome(tmp_path / "server")
    found.write_sites({f"site{number}": some_keys() for number in range(3)})
    return found


@pytest.fixture
def federation(tmp_path: Path) -> Path:
    path = write_federation(tmp_path)
    declare_units(path)
    return path


def renamed(path: Path, name: str) -> FederationConfig:
    import tomllib

    tree = tomllib.loads(path.read_text())
    tree["federation"]["name"] = name
    path.write_text(tomli_w.dumps(tree))
    return read_federation(path)


def test_a_run_is_planned_from_public_sizes_without_a_look_at_records(
    home: ServerHome, federation: Path
) -> None:
    for path in federation.parent.glob("*.csv"):
        path.unlink()
    begun = want_run(home, read_federation(federation))
    wanted = read_wanted(begun.folder)
    assert wanted.plan_sha256 == begun.folder.read_plan().sha256
    assert (wanted.state, wanted.flower_run) == ("wanted", None)
    assert wanted.model.is_absolute()
    assert [found.name for _, found in runs_of(home)] == [begun.name]


@pytest.mark.parametrize("length", [1, 48, 49, 64])
def test_a_long_name_is_no_obstacle(home: ServerHome, federation: Path, length: int) -> None:
    """With its date the name of a run would be longer than names may be."""
    begun = want_run(home, renamed(federation, "a" * length))
    assert read_wanted(begun.folder).name == begun.name
    assert len(begun.name) <= 64


def test_what_is_missing_is_told_before_a_folder_is_made(
    home: ServerHome, federation: Path, tmp_path: Path
) -> None:
    config = read_federation(federation)
    home.write_sites({"site0": some_keys()})
    with pytest.raises(PlanError, match="site1, site2: no kit"):
        want_run(home, config)
    undeclared = read_federation(write_federation(tmp_path / "more"))
    with pytest.raises(PlanError, match="site0, site1, site2: no declared_units"):
        want_run(home, undeclared)
    assert not home.runs.exists()


def test_stop_and_resume_are_told_and_only_what_can_be_is(home: ServerHome) -> None:
    folder = want(home, "one")
    stop_run(home, "one")
    with pytest.raises(RunFolderError, match="one: stopped, expected one that goes on"):
        stop_run(home, "one")
    want_again(home, "one")
    want_again(home, "one")
    assert kinds(folder) == ["stopped", "resumed"]
    change_wanted(folder, state="finished")
    for change in (stop_run, want_again):
        with pytest.raises(RunFolderError, match="one: finished"):
            change(home, "one")
    want(home, "two")
    with pytest.raises(RunFolderError, match="run none: no such run, expected one of one, two"):
        stop_run(home, "none")


def test_before_the_first_run_its_command_is_named(home: ServerHome) -> None:
    with pytest.raises(RunFolderError, match="no such run, expected fedloom server run to begin"):
        want_again(home, "one")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("ab" * 32, "ab"),
        ('"wanted"', '"running"'),
        ("null", '"1; x"'),
        ('"one"', '"two"'),
        ("}", ""),
    ],
)
def test_a_damaged_file_is_told_and_hides_no_other(home: ServerHome, old: str, new: str) -> None:
    bad, _ = want(home, "one"), want(home, "two")
    path = bad.path / "wanted.json"
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(RunFolderError):
        read_wanted(bad)
    assert [found.name for _, found in runs_of(home)] == ["two"]
    before = path.read_bytes()
    for change in (stop_run, want_again):
        with pytest.raises(RunFolderError):
            change(home, "one")
    assert path.read_bytes() == before


def test_one_who_changes_keeps_the_others_out(home: ServerHome) -> None:
    folder = want(home, "one")
    thread = threading.Thread(target=lambda: change_wanted(folder, flower_run="7"))
    with held_wanted(folder) as wanted:
        thread.start()
        thread.join(0.2)
        assert thread.is_alive()
        assert wanted.flower_run is read_wanted(folder).flower_run is None
    thread.join(10)
    assert read_wanted(folder).flower_run == "7"
    assert state(folder) == "wanted"


def test_events_keep_their_order_and_no_peers_word_ends_a_line(home: ServerHome) -> None:
    folder = want(home, "one")
    log = EventLog.of(folder)
    assert log.events() == []
    log.note("started", "round 1")
    log.note("refused", "node 7 says\n{}\x1b[2J" + "x" * 1000)
    with log.path.open("ab") as file:
        file.write(b'{"at": 1, "ki')
    assert len(log.events()) == 2, "a cut line is none"
    log.note("failed", "again")
    assert kinds(folder) == ["started", "refused", "failed"]
    detail = log.events()[1].detail
    assert detail.isprintable() and len(detail) < 400
    log.path.write_bytes(b"{}\n")
    with pytest.raises(CheckpointError, match="damaged"):
        log.events()
