"""Envelopes inside Flower's records: the one place where shared code knows Flower."""

from flwr.app import Array, ArrayRecord, ConfigRecord, RecordDict

from fedloom.shared.errors import WireError
from fedloom.shared.signing import is_signature
from fedloom.shared.wire.envelope import Envelope
from fedloom.shared.wire.frame import Frame
from fedloom.shared.wire.heads import LedgerHead
from fedloom.shared.wire.stamp import Stamp

HEADER, PAYLOAD, HEAD = "fedloom.header", "fedloom.payload", "fedloom.ledger-head"
SIGNATURE, STAMP = "fedloom.signature", "fedloom.stamp"
_RAW = "fedloom.raw-f4le"


def to_records(envelope: Envelope) -> RecordDict:
    """A fresh RecordDict: a text or a few and, when there is a payload, one flat array."""
    frame, head = envelope.frame, envelope.head
    records = RecordDict({HEADER: ConfigRecord({"json": frame.header})})
    if head is not None:
        records[HEAD] = ConfigRecord({"json": head.model_dump_json()})
    if envelope.signature is not None:
        records[SIGNATURE] = ConfigRecord({"json": envelope.signature})
    if envelope.stamp is not None:
        records[STAMP] = ConfigRecord({"json": envelope.stamp.model_dump_json()})
    if frame.payload:
        shape = (len(frame.payload) // 4,)
        array = Array(dtype="float32", shape=shape, stype=_RAW, data=frame.payload)
        records[PAYLOAD] = ArrayRecord({"flat": array})
    return records


def from_records(records: RecordDict) -> Envelope:
    """Read a peer's records; the bytes are taken as they are, never deserialised by Flower.

    Raises:
        WireError: a record is missing or of another kind, or head, stamp or signature is none.
    """
    header, head, stamp = (_text(records, name) for name in (HEADER, HEAD, STAMP))
    signature = _text(records, SIGNATURE)
    if signature is not None and not is_signature(signature):
        raise WireError("message: its signature is none, expected 128 hex digits")
    if header is None:
        raise WireError(f"message: no {HEADER} record, expected a FedLoom frame")
    return Envelope(
        frame=Frame(header=header, payload=_payload(records)),
        head=None if head is None else LedgerHead.parse(head),
        signature=signature,
        stamp=None if stamp is None else Stamp.parse(stamp),
    )


def _payload(records: RecordDict) -> bytes:
    arrays = records.array_records.get(PAYLOAD)
    if arrays is None:
        return b""
    array = arrays.get("flat")
    if array is None or array.stype != _RAW:
        raise WireError(f"message: no raw array in {PAYLOAD}")
    return bytes(array.data)


def _text(records: RecordDict, name: str) -> str | None:
    record = records.config_records.get(name)
    text = record.get("json") if record is not None else None
    return text if isinstance(text, str) else None
