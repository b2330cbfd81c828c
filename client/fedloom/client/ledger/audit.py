"""A ledger for an auditor: one JSON file that the site's public key alone verifies."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from fedloom.client.ledger.chain import Chain, Signed, read_chain
from fedloom.client.ledger.entries import Opening
from fedloom.client.ledger.ledger import Ledger
from fedloom.shared.config.problems import explain
from fedloom.shared.errors import LedgerError
from fedloom.shared.wire.messages import Digest


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ExportedEntry(_Part):
    """An entry's bytes as text, just as they were hashed and signed."""

    body: str
    signature: Annotated[str, Field(pattern=r"^[0-9a-f]{128}$")]


class LedgerExport(_Part):
    """What `fedloom ledger export` writes; how to verify it: docs/ledger.md."""

    kind: Literal["fedloom-ledger"] = "fedloom-ledger"
    format: Literal[1] = 1
    public_key: Digest
    entries: tuple[ExportedEntry, ...]

    @classmethod
    def of(cls, ledger: Ledger) -> "LedgerExport":
        """The whole ledger, after it was verified.

        Raises:
            LedgerError: it is not whole.
        """
        kept = ledger.signed()
        entries = [
            ExportedEntry(body=signed.body.decode(), signature=signed.signature) for signed in kept
        ]
        public_key = Opening.model_validate_json(kept[0].body).public_key
        return cls(public_key=public_key, entries=tuple(entries))


def verify_export(path: Path, *, public_key: str) -> Chain:
    """Check an export against the key that the site gave the auditor by another way.

    Guarantee: as `read_chain`. An export without its last entries looks whole: compare its head
    with the one that the coordinator remembers.

    Raises:
        LedgerError: no export, of another site's key, or not whole.
    """
    try:
        export = LedgerExport.model_validate_json(path.read_bytes())
    except ValidationError as error:
        problem = explain(error, LedgerExport)[0]
        raise LedgerError(f"{path}: not what fedloom ledger export writes: {problem}") from error
    if export.public_key != public_key:
        raise LedgerError(
            f"{path}: signed by key {export.public_key[:12]}…, expected {public_key[:12]}…"
        )
    kept = [Signed(body=each.body.encode(), signature=each.signature) for each in export.entries]
    return read_chain(kept, public_key)
