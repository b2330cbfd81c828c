"""A site whose node went, and came back within the round."""

from collections.abc import Callable, Iterable

import pytest
from flwr.app import Error, Message, RecordDict
from flwr.common.constant import ErrorCode

from fedloom.server import exchange
from fedloom.server.asked import Reply
from fedloom.server.discovery import FoundSite, discover_sites, log_denied
from fedloom.server.exchange import replies
from fedloom.server.parties import TrustedParties
from tests.unit.test_exchange import ScriptedGrid, hello

Made = Callable[[Message], Message]


def gone(code: int = ErrorCode.NODE_UNAVAILABLE) -> Made:
    return lambda message: Message(Error(code=code), reply_to=message)


class LosingGrid(ScriptedGrid):
    """Each message has an answer of its own: `scripts[node]` in the order of asking."""

    def __init__(self, scripts: dict[int, list[tuple[float, Made] | None]]) -> None:
        super().__init__(dict.fromkeys(scripts))
        self.scripts = scripts
        self.asked: list[tuple[int, float]] = []
        self.there = set(scripts)

    def get_node_ids(self) -> Iterable[int]:
        return self.there

    def _push(self, message: Message) -> str:
        node = message.metadata.dst_node_id
        key = f"id-{node}-{len(self.asked)}"
        message.metadata.__dict__["_message_id"] = key
        self.asked.append((node, self.now))
        answer = self.scripts[node].pop(0) if self.scripts[node] else None
        if answer is not None:
            self.waiting[key] = (self.now + answer[0], answer[1](message))
        return key


@pytest.fixture
def exchanged(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[Reply]]:
    def run(grid: LosingGrid, *, deadline: float = 200.0, left: Iterable[str] = ()) -> list[Reply]:
        def sleep(seconds: float) -> None:
            grid.now += seconds

        def again(site: str, seconds: float) -> Message | None:
            node = int(site.removeprefix("site"))
            assert seconds > 0
            return a_message(node) if node in grid.get_node_ids() else None

        monkeypatch.setattr(exchange.time, "sleep", sleep)
        names = {f"site{node}": node for node in grid.scripts}
        asked = {name: a_message(node) for name, node in names.items() if name not in left}
        stream = replies(
            grid, asked, deadline_seconds=deadline, again=again, left=left, clock=grid.clock
        )
        return list(stream)

    return run


def a_message(node: int) -> Message:
    return Message(RecordDict(), dst_node_id=node, message_type="train")


def is_answer(reply: Reply) -> bool:
    return reply.message is not None and not reply.message.has_error()


@pytest.mark.parametrize("code", [ErrorCode.NODE_UNAVAILABLE, ErrorCode.CLIENT_APP_CRASHED])
def test_who_went_is_asked_again_in_the_same_round(
    exchanged: Callable[..., list[Reply]], code: int
) -> None:
    grid = LosingGrid({1: [(5.0, gone(code)), (1.0, hello("a"))], 2: [(2.0, hello("b"))]})
    found = exchanged(grid)
    assert [(reply.site, is_answer(reply)) for reply in found] == [("site2", True), ("site1", True)]
    assert grid.now < 7


def test_who_stays_away_holds_a_round_up_for_a_minute_and_not_to_its_deadline(
    exchanged: Callable[..., list[Reply]],
) -> None:
    grid = LosingGrid({1: [(5.0, gone())], 2: [(2.0, hello("b"))]})
    grid.there = {2}
    found = exchanged(grid)
    assert [(reply.site, is_answer(reply)) for reply in found] == [
        ("site2", True),
        ("site1", False),
    ]
    assert found[1].message is not None
    assert 65 <= grid.now < 66


def test_who_is_back_after_a_while_is_asked_then(exchanged: Callable[..., list[Reply]]) -> None:
    class Returning(LosingGrid):
        def get_node_ids(self) -> Iterable[int]:
            return {1} if self.now > 30 else set()

    grid = Returning({1: [(5.0, gone()), (1.0, hello("a"))]})
    (reply,) = exchanged(grid)
    assert is_answer(reply)
    assert 31 <= grid.now < 33


def test_a_site_that_crashes_each_time_is_not_asked_for_ever(
    exchanged: Callable[..., list[Reply]],
) -> None:
    grid = LosingGrid({1: [(1.0, gone(ErrorCode.CLIENT_APP_CRASHED))] * 50})
    (reply,) = exchanged(grid)
    assert not is_answer(reply)
    assert len(grid.asked) == 4


def test_a_message_that_was_lost_without_a_word_is_sent_again_at_half_the_time(
    exchanged: Callable[..., list[Reply]],
) -> None:
    grid = LosingGrid({1: [None, (1.0, hello("a"))], 2: [(1.0, hello("b"))]})
    found = exchanged(grid, deadline=60.0)
    assert all(map(is_answer, found))
    assert [round(at) for _, at in grid.asked] == [0, 0, 30]
    assert 31 <= grid.now < 32


def test_a_slow_site_that_was_asked_twice_counts_once(
    exchanged: Callable[..., list[Reply]],
) -> None:
    grid = LosingGrid({1: [(40.0, hello("a")), (10.5, hello("a"))]})
    (reply,) = exchanged(grid, deadline=60.0)
    assert is_answer(reply)
    assert grid.now < 41


def test_what_the_site_itself_raised_is_not_asked_again(
    exchanged: Callable[..., list[Reply]],
) -> None:
    grid = LosingGrid({1: [(1.0, gone(ErrorCode.CLIENT_APP_RAISED_EXCEPTION))]})
    (reply,) = exchanged(grid)
    assert not is_answer(reply)
    assert len(grid.asked) == 1


@pytest.mark.parametrize(("back", "counted"), [(8.0, ["site2", "site1"]), (1e9, ["site2"])])
def test_who_is_between_two_nodes_as_a_round_begins_is_asked_when_it_is_back(
    exchanged: Callable[..., list[Reply]], back: float, counted: list[str]
) -> None:
    class Returning(LosingGrid):
        def get_node_ids(self) -> Iterable[int]:
            return {1, 2} if self.now > back else {2}

    grid = Returning({1: [(1.0, hello("a"))], 2: [(2.0, hello("b"))]})
    found = exchanged(grid, left=["site1"])
    assert [reply.site for reply in found] == counted
    assert all(map(is_answer, found))
    assert grid.now < 62


def test_a_node_that_comes_back_while_it_is_looked_for_is_found(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """After a power cut, server and sites come up at the same time."""
    grid = LosingGrid({1: [(0.0, gone()), (0.0, hello("north"))]})
    monkeypatch.setattr(exchange.time, "sleep", lambda _: None)
    found = discover_sites(grid, frozenset({1}), TrustedParties(), log_denied, deadline_seconds=5.0)
    assert found == {"north": FoundSite(node=1, budget=None)}


def test_nobody_is_asked_when_no_time_is_left(exchanged: Callable[..., list[Reply]]) -> None:
    """A server that was away holds a look up beyond the deadline; a message of no time is none."""

    class Stalling(LosingGrid):
        def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
            self.now += 300.0
            return list(super().pull_messages(message_ids))

    grid = Stalling({1: [None, None]})
    (reply,) = exchanged(grid, deadline=200.0)
    assert reply.message is None and grid.asked == [(1, 0.0)]
