"""Frames inside Flower's records: the one place where shared code knows Flower."""

from flwr.app import Array, ArrayRecord, ConfigRecord, RecordDict

from fedloom.shared.errors import WireError
from fedloom.shared.wire.frame import Frame
from fedloom.shared.wire.heads import LedgerHead

HEADER, PAYLOAD, HEAD = "fedloom.header", "fedloom.payload", "fedloom.ledger-head"
_RAW = "fedloom.raw-f4le"


def to_records(frame: Frame, head: LedgerHead | None = None) -> RecordDict:
    """A fresh RecordDict: one text and, when there is a payload, one flat array.

    `head` is that of a ledger: a site's own beside its update, or the one that a coordinator
    remembers beside its task.
    """
    records = RecordDict({HEADER: ConfigRecord({"json": frame.header})})
    if head is not None:
        records[HEAD] = ConfigRecord({"json": head.model_dump_json()})
    if frame.payload:
        shape = (len(frame.payload) // 4,)
        array = Array(dtype="float32", shape=shape, stype=_RAW, data=frame.payload)
        records[PAYLOAD] = ArrayRecord({"flat": array})
    return records


def from_records(records: RecordDict) -> Frame:
    """Read a peer's records; the bytes are taken as they are, never deserialised by Flower.

    Raises:
        WireError: a record is missing or of another kind.
    """
    text = _text(records, HEADER)
    if text is None:
        raise WireError(f"message: no {HEADER} record, expected a FedLoom frame")
    arrays = records.array_records.get(PAYLOAD)
    if arrays is None:
        return Frame(header=text)
    array = arrays.get("flat")
    if array is None or array.stype != _RAW:
        raise WireError(f"message: no raw array in {PAYLOAD}")
    return Frame(header=text, payload=bytes(array.data))


def head_in(records: RecordDict) -> LedgerHead | None:
    """The head of a ledger that a peer sent along, unverified; None if there is none.

    Raises:
        WireError: it is malformed.
    """
    text = _text(records, HEAD)
    return None if text is None else LedgerHead.parse(text)


def _text(records: RecordDict, name: str) -> str | None:
    record = records.config_records.get(name)
    text = record.get("json") if record is not None else None
    return text if isinstance(text, str) else None
