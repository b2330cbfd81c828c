"""One round's messages: pushed at once, replies taken one at a time until a deadline."""

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from flwr.app import Message
from flwr.serverapp import Grid

# How long to wait between looks at a grid that had nothing new.
_POLL_SECONDS = 0.05


@dataclass(frozen=True, kw_only=True)
class Reply:
    """What came back from one site: a message, or none when the deadline passed."""

    site: str
    message: Message | None


def replies(
    grid: Grid,
    messages: Mapping[str, Message],
    *,
    deadline_seconds: float,
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[Reply]:
    """Send each site its message and yield each reply as it comes.

    Exactly one `Reply` for each site, in order of arrival; sites that did not answer within
    `deadline_seconds` come last, without a message. Only one reply is held at a time. Replies
    are matched by the message they answer, since an error reply may come from elsewhere.
    """
    sites = list(messages)
    ids = list(grid.push_messages(messages.values()))
    waiting = {message_id: site for message_id, site in zip(ids, sites, strict=True) if message_id}
    for site in set(sites) - set(waiting.values()):
        yield Reply(site=site, message=None)
    end = clock() + deadline_seconds
    while waiting and clock() < end:
        arrived = False
        for message in _one_by_one(grid, list(waiting)):
            site = waiting.pop(message.metadata.reply_to_message_id, "")
            if site:
                arrived = True
                yield Reply(site=site, message=message)
        if not arrived:
            time.sleep(_POLL_SECONDS)
    for site in waiting.values():
        yield Reply(site=site, message=None)


def _one_by_one(grid: Grid, message_ids: list[str]) -> Iterator[Message]:
    for message_id in message_ids:
        yield from grid.pull_messages([message_id])
