"""What the coordinator remembers of each site's ledger, so that an older copy is found out."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

from fedloom.shared.errors import CheckpointError, UpdateRejected, WireError
from fedloom.shared.files import write_durably
from fedloom.shared.wire.heads import LedgerHead


class HeadBook:
    """The newest head of each site, in one file.

    Guarantee: a head is remembered only if its own key signed it, the key is the one that the
    site had before, and its ledger did not become shorter or another; durable before `remember`
    returns. The first head of a site is taken as it comes.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._heads = read_heads(path)

    def of(self, site: str) -> LedgerHead | None:
        """What was remembered last."""
        return self._heads.get(site)

    def remember(self, site: str, head: LedgerHead) -> None:
        """Take note of a head that came with an update.

        Raises:
            UpdateRejected: it is not signed, of another key, or of an older or other ledger.
        """
        known = self._heads.get(site)
        if known is not None and known.public_key != head.public_key:
            raise UpdateRejected("rejected: the site's ledger is signed by another key")
        if not head.is_signed:
            raise UpdateRejected("rejected: the head of the site's ledger is not signed")
        if known is not None and head != known and head.number <= known.number:
            raise UpdateRejected("rejected: the site's ledger is older than it was")
        self._heads[site] = head
        self._keep()

    def forget(self, site: str) -> None:
        """Let a site begin anew, as a person decided."""
        if self._heads.pop(site, None) is not None:
            self._keep()

    def _keep(self) -> None:
        write_heads(self._path, self._heads)


def settle_heads(remembered: Path, kept: Path, sites: Iterable[str]) -> dict[str, LedgerHead]:
    """The heads of a run's sites at its end, kept with the run: in a file that outlasts it they
    go on.

    Raises:
        CheckpointError: the file is damaged.
    """
    found = read_heads(remembered)
    heads = {name: found[name] for name in sites if name in found}
    write_heads(kept, heads)
    return heads


def write_heads(path: Path, heads: Mapping[str, LedgerHead]) -> None:
    """Replace the heads in a file; durable when it returns."""
    content = {name: each.model_dump_json() for name, each in sorted(heads.items())}
    write_durably(path, json.dumps(content, indent=1).encode())


def read_heads(path: Path) -> dict[str, LedgerHead]:
    """The newest head of each site; none where there is no file.

    Raises:
        CheckpointError: the file is damaged.
    """
    return parse_heads(path.read_bytes(), source=path) if path.is_file() else {}


def parse_heads(content: bytes, *, source: object) -> dict[str, LedgerHead]:
    """As `read_heads`, from a file's content; `source` is where it is from.

    Raises:
        CheckpointError: it is damaged.
    """
    try:
        tree = json.loads(content)
        return {str(name): LedgerHead.parse(text) for name, text in tree.items()}
    except (ValueError, AttributeError, TypeError, RecursionError, WireError) as error:
        raise CheckpointError(
            f"{source}: damaged, expected the heads of the sites' ledgers"
        ) from error
