"""How much a node may send: Flower 1.41 knows no limit but that of the proxy's, for each request.

A node answers each message that it was sent at most once. What it may send is thereby bounded by
how many pieces an answer may have, each of the size that the proxy lets through.
"""

import functools
import importlib
import logging
import threading
from collections.abc import Callable
from typing import Any

logger = logging.getLogger("fedloom.server")

# An answer has eight or so of its own, and one more for each 5 MB of its update.
MOST_OBJECTS = 300
# What an answer has beside its update: texts, heads, and Flower's own.
_BESIDE_BYTES = 4 * 2**20


def bound_messages() -> None:
    """Let Flower's server refuse an answer of too many pieces before it makes room for them.

    Flower's own check, that one message has one tree, holds only if the tree is the message's: a
    node could else send the same message again and again, each time with another tree.
    """
    handlers = importlib.import_module("flwr.superlink.servicer.fleet.fleet_handlers")
    handlers.push_messages = _bounded(handlers.push_messages)  # type: ignore[attr-defined]


def _bounded(push: Callable[..., object]) -> Callable[..., object]:
    from flwr.supercore.error import ApiErrorCode, FlowerError

    @functools.wraps(push)
    def bounded(request: Any, state: object) -> object:
        if why := _wrong(request):
            raise FlowerError(ApiErrorCode.RUNTIME_INVALID_MESSAGE_COUNT, why, why)
        return push(request, state)

    return bounded


def _wrong(request: Any) -> str | None:
    if len(request.messages_list) != 1 or len(request.message_object_trees) != 1:
        return "expected one message and its tree"
    (message,), (tree,) = request.messages_list, request.message_object_trees
    if tree.object_id != message.metadata.message_id:
        return "expected the message's own tree"
    found = _count(tree)
    return None if found <= MOST_OBJECTS else f"{found} objects, expected {MOST_OBJECTS} at most"


def _count(tree: Any) -> int:
    return 1 + sum(_count(child) for child in tree.children)


def bound_pulls(update_bytes: int) -> None:
    """Let this process take no answer into memory that is longer than one with such an update.

    What Flower then says of the site is that its answer is not to be had.
    """
    usual = importlib.import_module("flwr.supercore.inflatable.inflatable_utils").pull_objects
    grid = importlib.import_module("flwr.superlink.grid.http_grid")
    # In place of the bound before, if there was one.
    grid.pull_objects = _within(update_bytes + _BESIDE_BYTES, usual)  # type: ignore[attr-defined]


def _within(most: int, pull_objects: Callable[..., dict[str, bytes]]) -> Callable[..., object]:
    from flwr.supercore.inflatable.inflatable_utils import ObjectPullError

    def pull(
        object_ids: list[str], pull_object_fn: Callable[[str], bytes], **more: Any
    ) -> dict[str, bytes]:
        left, lock = most, threading.Lock()

        def counted(object_id: str) -> bytes:
            nonlocal left
            content = pull_object_fn(object_id)
            with lock:
                left -= len(content)
                if left >= 0:
                    return content
            logger.warning("an answer of more than %d bytes is left out", most)
            raise ObjectPullError(object_id, f"more than {most} bytes")

        return pull_objects(object_ids, counted, **more)

    return pull
