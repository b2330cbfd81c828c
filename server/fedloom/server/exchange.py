"""One round's messages: pushed at once, replies taken one at a time until a deadline."""

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping

import httpx
from flwr.app import Message
from flwr.serverapp import Grid

from fedloom.server.asked import AskAgain, Asked, Reply

logger = logging.getLogger("fedloom.server")

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
        for reply in _arrived(grid, asked):
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


def _arrived(grid: Grid, asked: Asked) -> Iterator[Reply]:
    """Replies that are there, one at a time."""
    for message_id in list(asked.messages):
        try:
            messages = list(grid.pull_messages([message_id]))
        except (httpx.HTTPError, OSError):
            # The way to Flower's server, and no fault of a site's.
            raise
        # Flower inflates what a peer sent, and stumbles over it in whatever way it likes.
        except Exception as error:
            logger.warning("a reply that is no message", exc_info=error)
            if message_id in asked.messages:
                yield asked.answered_nonsense(message_id)
            continue
        yield from filter(None, map(asked.answered, messages))
