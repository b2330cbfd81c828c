"""Who was asked in a round and has not answered, and who went and may come back."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from flwr.app import Message
from flwr.common.constant import ErrorCode
from flwr.serverapp import Grid

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


class Asked:
    """Who was asked and has not answered, and who went and may come back."""

    def __init__(
        self, grid: Grid, end: float, again: AskAgain | None, clock: Callable[[], float]
    ) -> None:
        self._grid, self._again, self._clock = grid, again, clock
        self.end = end
        # Sites by message; one that was asked twice may answer either.
        self.messages: dict[str, str] = {}
        self._times: dict[str, int] = {}
        self._lost: dict[str, _Lost] = {}

    def push(self, messages: Mapping[str, Message]) -> Iterable[str]:
        """Ask; sites whose message was not taken."""
        ids = self._grid.push_messages(messages.values())
        for message_id, site in zip(ids, messages, strict=True):
            if message_id:
                self.messages[message_id] = site
                self._times[site] = self._times.get(site, 0) + 1
            else:
                yield site

    @property
    def open(self) -> bool:
        """Whether anybody may still answer."""
        return bool(self.messages or self._lost) and self._clock() < self.end

    def answered(self, message: Message) -> Reply | None:
        """The reply in a message, unless it is nobody's, or its site may yet come back."""
        site = self.messages.get(message.metadata.reply_to_message_id)
        if site is None:
            return None
        if self._may_return(site, message):
            del self.messages[message.metadata.reply_to_message_id]
            self.lose(site, message)
            return None
        self._close(site)
        return Reply(site=site, message=message)

    def answered_nonsense(self, message_id: str) -> Reply:
        """The reply of a site that sent what is no message; it does not come a second time."""
        site = self.messages[message_id]
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
            if site in self.messages.values():
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
        # Flower takes no message that has no time left, and its exception would end the run.
        message = None if self._again is None or left <= 0 else self._again(site, left)
        if message is not None and not list(self.push({site: message})):
            self._lost.pop(site, None)

    def silent(self) -> Iterator[Reply]:
        """Those who did not answer, when all is over."""
        for site in dict.fromkeys(self.messages.values()):
            yield Reply(site=site, message=None)
        for site, lost in self._lost.items():
            if lost.said is not None and site not in self.messages.values():
                yield Reply(site=site, message=lost.said)

    def _may_return(self, site: str, message: Message) -> bool:
        if self._again is None or self._times[site] >= _MOST_ASKS:
            return False
        return message.has_error() and message.error.code in GONE

    def _close(self, site: str) -> None:
        self.messages = {key: at for key, at in self.messages.items() if at != site}
        self._lost.pop(site, None)
