"""The keeper's decisions: whose turn it is, when a run begins again, and when it does not."""

from pathlib import Path

import pytest

from fedloom.server.deploy.events import EventLog
from fedloom.server.deploy.home import ServerHome
from fedloom.server.deploy.keeper import Keeper
from fedloom.server.deploy.starting import stop_run, want_again
from fedloom.server.deploy.wanted import read_wanted
from fedloom.shared.errors import CheckpointError, DeployError
from tests.support.flower_server import FlowerServer, kinds, one_round_more, state, want


class Bench:
    """A keeper with a clock that stands until it is moved."""

    def __init__(self, home: ServerHome) -> None:
        self.home, self.flower, self.now = home, FlowerServer(), 0.0
        self.keeper = Keeper(home, self.flower, "@fedloom/federation==1", clock=lambda: self.now)

    def look(self, *, after: float = 0.0) -> list[str]:
        """One look; what Flower works on then."""
        self.now += after
        self.keeper.tend()
        return self.flower.at_work

    def fail(self) -> None:
        """The run that Flower works on fails."""
        self.flower.end(next(n for n, (_, run) in self.flower.runs.items() if not run.ended))


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(ServerHome(tmp_path))


def test_the_oldest_run_has_the_first_turn_and_the_next_only_after_it(bench: Bench) -> None:
    young = want(bench.home, "a-young", created=2.0)
    old = want(bench.home, "b-old", created=1.0)
    assert bench.look() == ["b-old"]
    assert bench.look() == bench.look() == ["b-old"]
    assert kinds(old) == ["started"]
    old.report_json.write_text("{}")
    bench.flower.end("1", "completed")
    assert bench.look() == ["a-young"]
    assert state(old) == "finished"
    assert kinds(old) == ["started", "finished"]
    assert read_wanted(young).flower_run == "2"


def test_pauses_grow_and_shrink_after_progress(bench: Bench) -> None:
    folder = want(bench.home, "one")
    bench.look()
    for pause in (5.0, 10.0, 20.0, 40.0, 80.0, 160.0, 300.0, 300.0):
        bench.fail()
        assert bench.look() == []
        assert bench.look(after=pause - 0.1) == []
        assert bench.look(after=0.2) == ["one"]
    one_round_more(folder)
    bench.fail()
    assert bench.look() == []
    assert bench.look(after=5.1) == ["one"]
    assert EventLog.of(folder).events()[-1].detail == "goes on after round 1"


def test_a_run_that_waits_lets_the_next_go_and_then_waits_for_it(bench: Bench) -> None:
    """Two runs at once would ask each site for two tasks at a time."""
    want(bench.home, "old", created=1.0)
    want(bench.home, "young", created=2.0)
    bench.look()
    bench.fail()
    assert bench.look() == ["young"]
    assert bench.look(after=1000.0) == ["young"]
    bench.fail()
    assert bench.look() == ["old"]


def test_an_older_run_that_is_resumed_waits_for_the_one_at_work(bench: Bench) -> None:
    want(bench.home, "old", created=1.0, state="stopped")
    want(bench.home, "young", created=2.0)
    assert bench.look() == ["young"]
    want_again(bench.home, "old")
    assert bench.look() == ["young"]


def test_a_stopped_run_is_stopped_at_flower_and_frees_the_turn(bench: Bench) -> None:
    old, _ = want(bench.home, "old", created=1.0), want(bench.home, "young", created=2.0)
    bench.look()
    stop_run(bench.home, "old")
    assert bench.look() == ["young"]
    assert bench.flower.runs["1"][1].outcome == "stopped"
    assert (state(old), read_wanted(old).flower_run) == ("stopped", None)
    bench.look()
    assert bench.flower.calls.count("stop") == 1
    assert kinds(old) == ["started", "stopped"]


def test_a_run_that_gave_up_begins_again_only_when_it_is_resumed(bench: Bench) -> None:
    folder = want(bench.home, "one")
    bench.look()
    EventLog.of(folder).note("given-up", "plan: the model is another")
    # Something was turned away just then: that is no reason to begin again.
    EventLog.of(folder).note("refused", "node 7 has another's key")
    bench.fail()
    assert bench.look() == []
    assert state(folder) == "given-up"
    assert bench.look(after=1000.0) == []
    want_again(bench.home, "one")
    assert bench.look() == ["one"]
    bench.fail()
    bench.look()
    assert state(folder) == "wanted", "an earlier giving up does not count for this start"


def test_a_failure_is_noted_once_with_flowers_words_if_the_run_had_none(bench: Bench) -> None:
    folder = want(bench.home, "one")
    bench.look()
    EventLog.of(folder).note("failed", "round 1: 1 of 2 needed updates")
    bench.flower.end("1", "failed", "ignored")
    bench.look()
    bench.look(after=6)
    bench.flower.end("2", "failed", "no heartbeat")
    bench.look()
    details = [event.detail for event in EventLog.of(folder).events() if event.kind == "failed"]
    assert details == ["round 1: 1 of 2 needed updates", "failed: no heartbeat"]


@pytest.mark.parametrize(
    ("file", "words"), [("wanted.json", "{"), ("events.jsonl", "{}\n"), ("wanted.json", "")]
)
def test_a_damaged_run_does_not_keep_others_from_their_turn(
    bench: Bench, file: str, words: str
) -> None:
    bad = want(bench.home, "bad", created=1.0)
    bench.look()
    bench.flower.end("1")
    (bad.path / file).write_text(words)
    want(bench.home, "good", created=2.0)
    try:
        bench.look()
    except CheckpointError as error:
        assert "events.jsonl" in str(error)
    assert bench.flower.at_work == ["good"]


def test_a_copied_run_folder_starts_nothing(bench: Bench) -> None:
    """A backup beside the run would else start the run that it names, again and again."""
    folder = want(bench.home, "one", state="finished")
    copy = bench.home.run("one-backup")
    copy.path.mkdir()
    text = (folder.path / "wanted.json").read_text().replace("finished", "wanted")
    (copy.path / "wanted.json").write_text(text)
    assert bench.look() == []


def test_a_server_that_is_away_changes_nothing(bench: Bench) -> None:
    folder = want(bench.home, "one")
    bench.look()
    bench.flower.away = True
    for _ in range(3):
        with pytest.raises(DeployError):
            bench.look(after=1)
    assert read_wanted(folder).flower_run == "1"
    bench.flower.away = False
    assert bench.look() == ["one"]
    assert kinds(folder) == ["started"]
