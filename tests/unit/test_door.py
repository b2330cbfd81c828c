"""Who was turned away: nobody can hide among the lines, and no line breaks the page."""

import json
from pathlib import Path

import pytest

from fedloom.server.deploy import door
from fedloom.server.deploy.door import turned_away


def a_line(**changes: object) -> bytes:
    usual: dict[str, object] = {
        "time": "2026-01-01T00:00:00+00:00", "from": "10.0.0.1", "method": "POST",
        "path": "/v1/control/start-run", "status": 404,
    }  # fmt: skip
    return json.dumps(usual | changes).encode() + b"\n"


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "door.log"


def test_refusals_are_counted_by_peer_path_and_reason_the_most_frequent_first(log: Path) -> None:
    lines = [a_line(), a_line(time="later"), a_line(**{"from": "10.0.0.2", "status": 401})]
    lines += [a_line(status=status) for status in (200, 302, 500, 502)]
    log.write_bytes(b"".join(lines))
    first, second = turned_away(log)
    assert (first.peer, first.times, first.last) == ("10.0.0.1", 2, "later")
    assert first.why == "not open to the outside"
    assert (second.peer, second.why) == ("10.0.0.2", "not the signature of a registered node")


def test_a_peer_cannot_hide_behind_bytes_that_are_no_text(log: Path) -> None:
    """nginx writes the path of GET /%FF as that byte."""
    log.write_bytes(a_line(path="/PATH").replace(b"PATH", b"\xff\xfe"))
    (found,) = turned_away(log)
    assert found.times == 1


@pytest.mark.parametrize(
    "bad",
    [
        b"\n", b"{\n", b"[]\n", b"7\n", b'"x"\n', b"null\n", b"[" * 100_000 + b"\n", b"\0\n",
        b'{"status": "404"}\n', b'{"status": 1e999}\n', b'{"status": null}\n',
    ],
)  # fmt: skip
def test_no_line_stops_the_page(log: Path, bad: bytes) -> None:
    log.write_bytes(a_line() + bad + a_line())
    (found,) = turned_away(log)
    assert found.times == 2


def test_a_peers_words_move_no_cursor(log: Path) -> None:
    log.write_bytes(a_line(path="/\x1b[2J\n\u202e", **{"from": "\x07"}))
    (found,) = turned_away(log)
    assert found.path.isprintable() and found.peer.isprintable()


def test_a_line_without_its_keys_is_still_one(log: Path) -> None:
    log.write_bytes(b'{"status": 404}\n')
    (found,) = turned_away(log)
    assert (found.peer, found.path, found.last) == ("?", "?", "?")


def test_only_the_end_of_a_long_log_is_read(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(door, "_MOST_BYTES", 2 * len(a_line()) + 10)
    log.write_bytes(a_line() * 50)
    (found,) = turned_away(log)
    assert found.times == 2


def test_before_the_first_request_there_is_no_log(log: Path) -> None:
    assert turned_away(log) == []


def test_what_was_put_aside_counts_too_and_refusals_by_limit_are_told(log: Path) -> None:
    log.with_name("door.log.1").write_bytes(a_line() + a_line(status=503))
    log.write_bytes(a_line(time="later"))
    first, second = turned_away(log)
    assert (first.times, first.last) == (2, "later")
    assert second.why == "more than nodes ask, of which a line is kept for a hundred"


def test_what_happens_every_day_is_told_apart_and_hides_nothing(log: Path) -> None:
    """A node that starts is no attack; the same peer's refusals beside it are still seen."""
    again = {"path": "/v1/fleet/deactivate-node"}
    days = [a_line(status=status, **again) for status in (401, 412, 412)] + [a_line(path="/")] * 5
    log.write_bytes(b"".join([*days, a_line(status=412, path="/v1/fleet/activate-node")]))
    found = turned_away(log)
    assert [(away.why, away.times) for away in found] == [
        ("no registered node's key, or one that is in use", 1),
        ("a look whether the door is closed, as fedloom doctor takes (harmless)", 5),
        ("a node that started anew (harmless)", 3),
    ]
