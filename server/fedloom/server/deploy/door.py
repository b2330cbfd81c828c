"""Who was turned away at the proxy, from its log."""

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from fedloom.shared.printable import printable

# The end of the log is enough for a page; it is rotated by whoever rotates logs.
_MOST_BYTES = 4 * 2**20
_REFUSALS = {
    400: "no TLS, or no request",
    401: "not the signature of a registered node",
    404: "not open to the outside",
    412: "no registered node's key, or one that is in use",
    413: "too large",
}


@dataclass(frozen=True, kw_only=True)
class TurnedAway:
    """Requests of one peer that ended in one way."""

    peer: str
    status: int
    path: str
    times: int
    last: str

    @property
    def why(self) -> str:
        """In words."""
        return _REFUSALS.get(self.status, f"status {self.status}")


def turned_away(log: Path) -> list[TurnedAway]:
    """What the proxy or Flower's server refused lately, the most frequent first."""
    counts: Counter[tuple[str, int, str]] = Counter()
    last: dict[tuple[str, int, str], str] = {}
    for line in _lines(log):
        status = line.get("status")
        if isinstance(status, int) and 400 <= status < 500:
            key = (_text(line, "from"), status, _text(line, "path"))
            counts[key] += 1
            last[key] = _text(line, "time")
    return [
        TurnedAway(peer=peer, status=status, path=path, times=times, last=last[peer, status, path])
        for (peer, status, path), times in counts.most_common()
    ]


def _lines(log: Path) -> Iterator[dict[str, object]]:
    if not log.is_file():
        return
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - _MOST_BYTES))
        content = file.read()
    for line in content.splitlines():
        try:
            # nginx writes a peer's bytes as they are; a line of them must not go unseen.
            found = json.loads(line.decode(errors="replace"))
        except (ValueError, RecursionError):
            # The first line may be cut, and no peer's words may stop the page.
            continue
        if isinstance(found, dict):
            yield found


def _text(line: dict[str, object], key: str) -> str:
    return printable(line.get(key, "?"))
