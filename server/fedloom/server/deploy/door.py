"""Who was turned away at the proxy, from its log."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from fedloom.shared.printable import printable

# The end of the log is enough for a page; the keeper rotates it.
_MOST_BYTES = 4 * 2**20
_REFUSALS = {
    400: "no TLS, or no request",
    401: "not the signature of a registered node",
    404: "not open to the outside",
    412: "no registered node's key, or one that is in use",
    413: "too large",
    503: "more than nodes ask, of which a line is kept for a hundred",
}
# What happens every day: a node that starts says that the one before it has gone, which Flower's
# server may know already; and the doctor looks whether what is not for nodes is closed. A stranger
# who asks the same is refused with other words as soon as it asks for more.
_USUAL = {
    (401, "/v1/fleet/deactivate-node"): "a node that started anew (harmless)",
    (412, "/v1/fleet/deactivate-node"): "a node that started anew (harmless)",
    (404, "/"): "a look whether the door is closed, as fedloom doctor takes (harmless)",
}


@dataclass(frozen=True, kw_only=True)
class TurnedAway:
    """Requests of one peer that ended in one way; `path` is the last that it asked for."""

    peer: str
    status: int
    path: str
    times: int
    last: str

    @property
    def why(self) -> str:
        """In words."""
        usual = _USUAL.get((self.status, self.path))
        return usual or _REFUSALS.get(self.status, f"status {self.status}")

    @property
    def is_usual(self) -> bool:
        """Whether it is no reason to look closer."""
        return (self.status, self.path) in _USUAL


def turned_away(log: Path) -> list[TurnedAway]:
    """What the proxy or Flower's server refused lately, the most frequent first, but what is usual
    last."""
    found: dict[tuple[str, int | str], TurnedAway] = {}
    older = log.with_name(f"{log.name}.1")
    for line in chain(_lines(older), _lines(log)):
        status = line.get("status")
        if isinstance(status, int) and (400 <= status < 500 or status == 503):
            path = _text(line, "path")
            key = (_text(line, "from"), _USUAL.get((status, path), status))
            before = found[key].times if key in found else 0
            found[key] = TurnedAway(
                peer=key[0],
                status=status,
                path=path,
                times=before + 1,
                last=_text(line, "time"),
            )
    return sorted(found.values(), key=lambda away: (away.is_usual, -away.times))


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
