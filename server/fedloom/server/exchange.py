"""One round's messages: pushed at once, replies taken one at a time until a deadline."""

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

import httpx
from flwr.app import Message
from flwr.common.constant import ErrorCode
from flwr.serverapp import Grid

logger = logging.getLogger("fedloom.server")

# How long to wait between looks at a grid that had nothing new.
_POLL_SECONDS = 0.05
# What Flower says of a node that went, or of a relay that died: nothing of the site's own.
GONE = frozenset(
    {
        ErrorCode.MESSAGE_UNAVAILABLE,
        ErrorCode.REPLY_MESSAGE_UNAVAILABLE,
        ErrorCode.NODE_UNAVAILABLE,
        ErrorCode.CLIENT_APP_CRASHED,
    }
)
# How long a site that went is waited for: to be started again and load its libraries.
_RETURN_SECONDS = 60.0
_ASK_SECONDS = 1.0
_MOST_ASKS = 4

AskAgain = Callable[[str, float], Message | None]
"""The same question once more for a site, to be answered within so many seconds; None while its
node is not there."""


@dataclass(frozen=True, kw_only=True)
class Reply:
    """What came back from one site: a message, or none when the deadline passed, or when what
    came was none (`malformed`)."""

    site: str
    message: Message | None
    malformed: bool = False


@dataclass(kw_only=True)
class _Lost:
    """A site whose node went: what Flower says of it, until when it is waited for, and when it
    is looked for next. It says nothing of one that was not asked yet."""

    said: Message | None
    until: float
    look: float


class _Exchange:
    """Who was asked and has not answered, and who went and may come back."""

    def __init__(
        self, grid: Grid, end: float, again: AskAgain | None, clock: Callable[[], float]
    ) -> None:
        self._grid, self._again, self._clock = grid, again, clock
        self.end = end
        # A site that was asked twice may answer either message.
        self.asked: dict[str, str] = {}
        self._times: dict[str, int] = {}
        self._lost: dict[str, _Lost] = {}

    def push(self, messages: Mapping[str, Message]) -> Iterable[str]:
        """Ask; sites whose message was not taken."""
        ids = self._grid.push_messages(messages.values())
        for message_id, site in zip(ids, messages, strict=True):
            if message_id:
                self.asked[message_id] = site
                self._times[site] = self._times.get(site, 0) + 1
            else:
                yield site

    @property
    def open(self) -> bool:
        """Whether anybody may still answer."""
        return bool(self.asked or self._lost) and self._clock() < self.end

    def answered(self, message: Message) -> Reply | None:
        """The reply in a message, unless it is nobody's, or its site may yet come back."""
        site = self.asked.get(message.metadata.reply_to_message_id)
        if site is None:
            return None
        if self._may_return(site, message):
            del self.asked[message.metadata.reply_to_message_id]
            self.lose(site, message)
            return None
        self._close(site)
        return Reply(site=site, message=message)

    def answered_nonsense(self, message_id: str) -> Reply:
        """The reply of a site that sent what is no message; it does not come a second time."""
        site = self.asked[message_id]
        self._close(site)
        return Reply(site=site, message=None, malformed=True)

    def lose(self, site: str, said: Message | None) -> None:
        """Wait for a site whose node went."""
        now = self._clock()
        self._lost.setdefault(site, _Lost(said=said, until=now + _RETURN_SECONDS, look=now))

    def look_for_lost(self) -> Iterator[Reply]:
        """Ask those who are back; what Flower said of those who stayed away for too long."""
        now = self._clock()
        for site, lost in list(self._lost.items()):
            if site in self.asked.values():
                continue
            if now >= lost.until:
                self._close(site)
                if lost.said is not None:
                    yield Reply(site=site, message=lost.said)
            elif now >= lost.look:
                lost.look = now + _ASK_SECONDS
                self.ask_again(site)

    def ask_again(self, site: str) -> None:
        """Once more, if its node is there."""
        left = self.end - self._clock()
        message = None if self._again is None else self._again(site, left)
        if message is not None and not list(self.push({site: message})):
            self._lost.pop(site, None)

    def silent(self) -> Iterator[Reply]:
        """Those who did not answer, when all is over."""
        for site in dict.fromkeys(self.asked.values()):
            yield Reply(site=site, message=None)
        for site, lost in self._lost.items():
            if lost.said is not None and site not in self.asked.values():
                yield Reply(site=site, message=lost.said)

    def _may_return(self, site: str, message: Message) -> bool:
        if self._again is None or self._times[site] >= _MOST_ASKS:
            return False
        return message.has_error() and message.error.code in GONE

    def _close(self, site: str) -> None:
        self.asked = {key: at for key, at in self.asked.items() if at != site}
        self._lost.pop(site, None)


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
    exchange = _Exchange(grid, began + deadline_seconds, again, clock)
    for site in list(exchange.push(messages)):
        yield Reply(site=site, message=None)
    for site in left if again is not None else ():
        exchange.lose(site, None)
    half = began + deadline_seconds / 2
    while exchange.open:
        arrived = False
        for reply in _arrived(grid, exchange):
            arrived = True
            yield reply
        yield from exchange.look_for_lost()
        if clock() >= half:
            half = exchange.end
            for site in set(exchange.asked.values()):
                exchange.ask_again(site)
        if not arrived:
            time.sleep(_POLL_SECONDS)
    yield from exchange.silent()


def _arrived(grid: Grid, exchange: _Exchange) -> Iterator[Reply]:
    """Replies that are there, one at a time."""
    for message_id in list(exchange.asked):
        try:
            messages = list(grid.pull_messages([message_id]))
        except (httpx.HTTPError, OSError):
            # The way to Flower's server, and no fault of a site's.
            raise
        # Flower inflates what a peer sent, and stumbles over it in whatever way it likes.
        except Exception as error:
            logger.warning("a reply that is no message", exc_info=error)
            if message_id in exchange.asked:
                yield exchange.answered_nonsense(message_id)
            continue
        yield from filter(None, map(exchange.answered, messages))
