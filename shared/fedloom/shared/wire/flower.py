"""Frames inside Flower's records: the one place where shared code knows Flower."""

from flwr.app import Array, ArrayRecord, ConfigRecord, RecordDict

from fedloom.shared.errors import WireError
from fedloom.shared.wire.frame import Frame

HEADER, PAYLOAD = "fedloom.header", "fedloom.payload"
_RAW = "fedloom.raw-f4le"


def to_records(frame: Frame) -> RecordDict:
    """A fresh RecordDict: one text and, when there is a payload, one flat array."""
    records = RecordDict({HEADER: ConfigRecord({"json": frame.header})})
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
    header = records.config_records.get(HEADER)
    text = header.get("json") if header is not None else None
    if not isinstance(text, str):
        raise WireError(f"message: no {HEADER} record, expected a FedLoom frame")
    arrays = records.array_records.get(PAYLOAD)
    if arrays is None:
        return Frame(header=text)
    array = arrays.get("flat")
    if array is None or array.stype != _RAW:
        raise WireError(f"message: no raw array in {PAYLOAD}")
    return Frame(header=text, payload=bytes(array.data))
