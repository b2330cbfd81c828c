"""One round's messages: pushed at once, replies taken one at a time until a deadline."""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping

from flwr.app import Message
from flwr.serverapp import Grid

from fedloom.server.asked import AskAgain, Asked, Reply

# How long to wait between looks at a grid that had nothing new.
_POLL_SECONDS = 0.05


def replies(
    grid: Grid,
    messages: Mapping[str, Message],
    *,
    deadline_seconds: float,
    again: AskAgain | None = None,
    left: Iterable[str] = (),
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[Reply]:
    """Send each site its message and yield each reply as it comes.

    Exactly one `Reply` for each site, in order of arrival; sites that did not answer within
    `deadline_seconds` come last, without a message. Only one reply is held at a time. Replies
    are matched by the message they answer, since an error reply may come from elsewhere.

    With `again`, a site whose node went is asked once more when it is back, and who is silent
    at half the time too: a message can be lost with the node that took it, and nobody says so.
    Sites in `left` are asked if they come back at all; else there is no reply of theirs.
    """
    began = clock()
    asked = Asked(grid, began + deadline_seconds, again, clock)
    for site in list(asked.push(messages)):
        yield Reply(site=site, message=None)
    for site in left if again is not None else ():
        asked.lose(site, None)
    half = began + deadline_seconds / 2
    while asked.open:
        arrived = False
        for message in _one_by_one(grid, list(asked.messages)):
            reply = asked.answered(message)
            if reply is not None:
                arrived = True
                yield reply
        yield from asked.look_for_lost()
        if clock() >= half:
            half = asked.end
            for site in set(asked.messages.values()):
                asked.ask_again(site)
        if not arrived:
            time.sleep(_POLL_SECONDS)
    yield from asked.silent()


def _one_by_one(grid: Grid, message_ids: list[str]) -> Iterator[Message]:
    for message_id in message_ids:
        yield from grid.pull_messages([message_id])
