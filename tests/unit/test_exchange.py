"""One round's exchange over a scripted grid: order, deadline, faults; and who serves whom."""

from collections.abc import Callable, Iterable, Iterator

import httpx
import pytest
from flwr.app import Error, Message, RecordDict
from flwr.serverapp import Grid
from flwr.supercore.run import Run

from fedloom.server import exchange
from fedloom.server.asked import Reply
from fedloom.server.discovery import FoundSite, discover_sites, log_denied
from fedloom.server.exchange import replies
from fedloom.server.parties import TrustedParties
from fedloom.shared.wire.envelope import Envelope
from fedloom.shared.wire.flower import to_records
from fedloom.shared.wire.frame import Frame
from fedloom.shared.wire.messages import (
    HELLO_QUERY,
    DeclaredBudget,
    HelloHeader,
    RefusalHeader,
)


class ScriptedGrid(Grid):
    """Replies when the script says so. `script[node]` is (seconds, maker of the reply)."""

    def __init__(self, script: dict[int, tuple[float, Callable[[Message], Message]] | None]):
        self.script = script
        self.now = 0.0
        self.unpushable: set[int] = set()
        self.waiting: dict[str, tuple[float, Message]] = {}
        self.pulled: list[str] = []

    def clock(self) -> float:
        return self.now

    def set_run(self, run: Run) -> None:
        raise NotImplementedError

    @property
    def run(self) -> Run:
        raise NotImplementedError

    def create_message(self, *_: object, **__: object) -> Message:
        raise NotImplementedError

    def get_node_ids(self) -> Iterable[int]:
        return list(self.script)

    def send_and_receive(self, *_: object, **__: object) -> Iterable[Message]:
        raise AssertionError("holds all replies at once")

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        return [self._push(message) for message in messages]

    def _push(self, message: Message) -> str:
        node = message.metadata.dst_node_id
        if node in self.unpushable:
            return ""  # as Flower's grids mark a message that was not taken
        message.metadata.__dict__["_message_id"] = f"id-{node}"
        answer = self.script[node]
        if answer is not None:
            self.waiting[f"id-{node}"] = (answer[0], answer[1](message))
        return f"id-{node}"

    def pull_messages(self, message_ids: Iterable[str]) -> Iterator[Message]:
        found = [at for at in message_ids if at in self.waiting and self.waiting[at][0] <= self.now]
        self.pulled += found
        return iter([self.waiting.pop(at)[1] for at in found])


@pytest.fixture(autouse=True)
def _no_sleep(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waiting moves the scripted clock instead of the real one."""

    def sleep(seconds: float) -> None:
        for grid in grids:
            grid.now += seconds

    grids: list[ScriptedGrid] = []
    made = ScriptedGrid.__init__

    def remember(self: ScriptedGrid, script: dict) -> None:
        made(self, script)
        grids.append(self)

    monkeypatch.setattr(ScriptedGrid, "__init__", remember)
    monkeypatch.setattr(exchange.time, "sleep", sleep)


def hello(site: str, budget: DeclaredBudget | None = None) -> Callable[[Message], Message]:
    records = to_records(Envelope(frame=HelloHeader(site=site, budget=budget).frame()))
    return lambda message: Message(records, reply_to=message)


def a_budget(spent: float) -> DeclaredBudget:
    return DeclaredBudget(unit="record", delta=1e-5, epsilon_allowed=8.0, epsilon_spent=spent)


def error(message: Message) -> Message:
    return Message(Error(code=3), reply_to=message)


def error_from_elsewhere(message: Message) -> Message:
    reply = error(message)
    reply.metadata.__dict__["_src_node_id"] = 1
    return reply


def messages(*nodes: int) -> dict[str, Message]:
    return {
        f"site{node}": Message(RecordDict(), dst_node_id=node, message_type="train")
        for node in nodes
    }


def exchanged(grid: ScriptedGrid, *nodes: int, deadline: float = 10.0) -> list[Reply]:
    stream = replies(grid, messages(*nodes), deadline_seconds=deadline, clock=grid.clock)
    return list(stream)


def test_replies_come_in_the_order_of_arrival() -> None:
    script = {1: (3.0, hello("a")), 2: (1.0, hello("b")), 3: (2.0, hello("c"))}
    found = exchanged(ScriptedGrid(script), 1, 2, 3)
    assert [reply.site for reply in found] == ["site2", "site3", "site1"]
    assert all(reply.message is not None for reply in found)


def test_one_reply_is_pulled_at_a_time() -> None:
    # All have arrived; pulling them together would hold every adapter in memory.
    grid = ScriptedGrid({node: (0.0, hello("x")) for node in (1, 2, 3)})
    stream = replies(grid, messages(1, 2, 3), deadline_seconds=10.0, clock=grid.clock)
    for taken in (1, 2, 3):
        next(stream)
        assert len(grid.pulled) == taken
    assert list(stream) == []


def test_nothing_is_waited_for_once_all_have_answered() -> None:
    grid = ScriptedGrid({1: (0.0, hello("a"))})
    exchanged(grid, 1)
    assert grid.now == 0.0


def test_the_silent_are_named_after_the_deadline() -> None:
    grid = ScriptedGrid({1: None, 2: (1.0, hello("b")), 3: (99.0, hello("late"))})
    found = exchanged(grid, 1, 2, 3, deadline=5.0)
    assert found[0].site == "site2"
    assert {reply.site for reply in found[1:] if reply.message is None} == {"site1", "site3"}
    assert len(found) == 3
    assert 5.0 <= grid.now < 5.2


def test_no_answer_at_all() -> None:
    found = exchanged(ScriptedGrid({1: None, 2: None}), 1, 2, deadline=1.0)
    assert sorted((reply.site, reply.message) for reply in found) == [
        ("site1", None),
        ("site2", None),
    ]


def test_a_message_that_was_not_taken_is_one_silent_site() -> None:
    grid = ScriptedGrid({1: (0.0, hello("a")), 2: (0.0, hello("b")), 3: (0.0, hello("c"))})
    grid.unpushable = {2}
    found = exchanged(grid, 1, 2, 3)
    assert {reply.site: reply.message is not None for reply in found} == {
        "site1": True,
        "site2": False,
        "site3": True,
    }
    # It must not be waited for either.
    assert grid.now == 0.0


def test_an_error_that_comes_from_another_node_belongs_to_the_asked_site() -> None:
    # Flower's link answers for a node that is gone: src_node_id is not the site's.
    grid = ScriptedGrid({1: (1.0, hello("a")), 2: (0.0, error_from_elsewhere)})
    first, second = exchanged(grid, 1, 2)
    assert first.site == "site2"
    assert first.message is not None
    assert first.message.has_error()
    assert first.message.metadata.src_node_id == 1
    assert second.site == "site1"
    assert second.message is not None
    assert not second.message.has_error()


def test_a_second_reply_to_one_message_does_not_count() -> None:
    class Repeating(ScriptedGrid):
        def pull_messages(self, message_ids: Iterable[str]) -> Iterator[Message]:
            found = list(super().pull_messages(message_ids))
            return iter(found * 2)

    found = exchanged(Repeating({1: (0.0, hello("a")), 2: (1.0, hello("b"))}), 1, 2)
    assert [reply.site for reply in found] == ["site1", "site2"]


def found_sites(script: dict) -> dict[str, FoundSite]:
    nodes, parties = frozenset(script), TrustedParties()
    grid = ScriptedGrid(script)
    return dict(discover_sites(grid, nodes, parties, log_denied, deadline_seconds=0.3))


def discovered(script: dict) -> dict[str, int]:
    return {name: found.node for name, found in found_sites(script).items()}


def test_discovery_names_each_nodes_site() -> None:
    assert discovered({7: (0.0, hello("north")), 8: (0.0, hello("south"))}) == {
        "north": 7,
        "south": 8,
    }


def test_discovery_brings_each_sites_own_budget() -> None:
    """Catches a budget mixed up between sites, and silence taken for nothing spent."""
    north, south = a_budget(1.5), a_budget(7.9)
    script = {
        7: (0.1, hello("north", north)),
        8: (0.0, hello("south", south)),
        9: (0.0, hello("west")),
    }
    assert found_sites(script) == {
        "north": FoundSite(node=7, budget=north),
        "south": FoundSite(node=8, budget=south),
        "west": FoundSite(node=9, budget=None),
    }


def test_discovery_asks_the_hello_query() -> None:
    asked: list[str] = []

    def answer(message: Message) -> Message:
        asked.append(message.metadata.message_type)
        return hello("north")(message)

    discovered({7: (0.0, answer)})
    assert asked == [HELLO_QUERY]


@pytest.mark.parametrize("claims", [2, 3])
def test_a_name_that_several_nodes_claim_belongs_to_none(claims: int) -> None:
    # Otherwise a newcomer could take a site's place, or two would be counted as one.
    nodes = range(10, 10 + claims)
    script = {node: (0.0, hello("north", a_budget(node / 10))) for node in nodes}
    assert discovered(script | {1: (0.0, hello("south"))}) == {"south": 1}


def test_discovery_leaves_out_what_is_no_hello() -> None:
    def refusal(message: Message) -> Message:
        records = to_records(Envelope(frame=RefusalHeader(site="north", rule="no").frame()))
        return Message(records, reply_to=message)

    def lying(said: str) -> Callable[[Message], Message]:
        records = to_records(Envelope(frame=Frame(header=said)))
        return lambda message: Message(records, reply_to=message)

    true = HelloHeader(site="x", budget=a_budget(1.5)).model_dump_json()
    script = {
        1: (0.0, hello("north")),
        2: (0.0, refusal),
        3: (0.0, lying(true.replace('"x"', '"../x"'))),
        4: (0.0, lambda message: Message(RecordDict(), reply_to=message)),
        5: (0.0, error),
        6: (0.0, lying(true.replace("1.5", "-1.5"))),
        7: (0.0, lying(true.replace("8.0", "NaN"))),
    }
    assert discovered(script) == {"north": 1}
    assert discovered({8: (0.0, lying(true))}) == {"x": 8}


@pytest.mark.parametrize("error", [KeyError("type"), AttributeError("x"), ValueError("protobuf")])
def test_a_reply_that_is_no_message_is_its_sites_alone(error: Exception) -> None:
    """Flower inflates what a peer sent and stumbles: one site could stop every run for ever."""

    class Stumbling(ScriptedGrid):
        def pull_messages(self, message_ids: Iterable[str]) -> Iterator[Message]:
            wanted = list(message_ids)
            if "id-1" in wanted:
                raise error
            yield from super().pull_messages(wanted)

    found = exchanged(Stumbling({1: (0.0, hello("a")), 2: (0.0, hello("b"))}), 1, 2)
    assert [(reply.site, reply.malformed) for reply in found] == [("site1", True), ("site2", False)]
    denied: list[tuple[int, str]] = []
    script = {1: (0.0, hello("north")), 2: (0.0, hello("south"))}
    there = discover_sites(
        Stumbling(script),
        frozenset(script),
        TrustedParties(),
        lambda node, why: denied.append((node, why)),
        deadline_seconds=0.3,
    )
    assert list(there) == ["south"] and denied == [(1, "answers with what is no message")]


def test_a_server_that_is_away_is_no_fault_of_a_site() -> None:
    class Away(ScriptedGrid):
        def pull_messages(self, message_ids: Iterable[str]) -> Iterator[Message]:
            raise httpx.ConnectError("refused")

    with pytest.raises(httpx.ConnectError):
        exchanged(Away({1: (0.0, hello("a"))}), 1)
