"""What a registered node may send: a bounded number of pieces, and no more than an update."""

from collections.abc import Callable, Iterator

import pytest
from flwr.app import Array, ArrayRecord, RecordDict
from flwr.proto.fleet_pb2 import PushMessagesRequest
from flwr.proto.message_pb2 import Message, Metadata, ObjectTree
from flwr.supercore.error import FlowerError
from flwr.supercore.inflatable.inflatable_object import get_object_tree
from flwr.supercore.inflatable.inflatable_utils import ObjectPullError
from flwr.superlink.grid import http_grid
from flwr.superlink.servicer.fleet import fleet_handlers

from fedloom.server.deploy import bounds
from fedloom.server.deploy.bounds import MOST_OBJECTS, bound_messages, bound_pulls


@pytest.fixture
def push(monkeypatch: pytest.MonkeyPatch) -> Callable[[PushMessagesRequest], object]:
    """Flower's own handler, bounded; it says that it was reached."""
    monkeypatch.setattr(fleet_handlers, "push_messages", lambda request, state: "reached")
    bound_messages()
    return lambda request: fleet_handlers.push_messages(request=request, state=None)  # type: ignore[arg-type]


def a_request(tree: ObjectTree, *, of: str | None = None, times: int = 1) -> PushMessagesRequest:
    message = Message(metadata=Metadata(message_id=of or tree.object_id))
    return PushMessagesRequest(messages_list=[message] * times, message_object_trees=[tree] * times)


def a_tree(objects: int, *, deep: bool = False) -> ObjectTree:
    if deep:
        tree = ObjectTree(object_id="0")
        for number in range(1, objects):
            tree = ObjectTree(object_id=str(number), children=[tree])
        return tree
    children = [ObjectTree(object_id=str(number)) for number in range(objects - 1)]
    return ObjectTree(object_id="root", children=children)


def test_an_update_of_hundreds_of_megabytes_is_let_through(
    push: Callable[[PushMessagesRequest], object],
) -> None:
    array = Array(dtype="float32", shape=(10_000_000,), stype="raw", data=bytes(40_000_000))
    tree = get_object_tree(RecordDict({"payload": ArrayRecord({"flat": array})}))
    assert push(a_request(tree)) == "reached"
    # A piece is of 5 MB: of ten times as much, there would be 77 more.
    assert bounds._count(tree) < 20
    assert push(a_request(a_tree(MOST_OBJECTS))) == "reached"


@pytest.mark.parametrize(
    "request_",
    [
        a_request(a_tree(MOST_OBJECTS + 1)),
        a_request(a_tree(95, deep=True), of="another"),
        a_request(a_tree(2), of="another"),
        a_request(a_tree(2), times=2),
        a_request(a_tree(2), times=0),
    ],
)
def test_what_is_more_than_one_answer_is_refused_before_room_is_made(
    push: Callable[[PushMessagesRequest], object], request_: PushMessagesRequest
) -> None:
    with pytest.raises(FlowerError):
        push(request_)


@pytest.fixture
def pulls() -> Iterator[None]:
    usual = http_grid.pull_objects
    yield
    http_grid.pull_objects = usual


@pytest.mark.usefixtures("pulls")
def test_no_answer_longer_than_an_update_comes_into_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(bounds, "_BESIDE_BYTES", 1000)
    asked: list[str] = []

    def pull(object_id: str) -> bytes:
        asked.append(object_id)
        return bytes(500)

    many = [str(number) for number in range(100)]
    bound_pulls(0)
    assert len(http_grid.pull_objects(many[:2], pull)) == 2
    with pytest.raises(ObjectPullError):
        http_grid.pull_objects(many, pull)
    # One that is at work in each of two threads may come on top.
    assert len(asked) < 10
    bound_pulls(49_000)
    assert len(http_grid.pull_objects(many, pull)) == 100, "each answer by itself, in place of it"
    assert len(http_grid.pull_objects(many, pull)) == 100
