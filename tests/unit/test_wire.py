"""Frames and messages: what goes round comes back, and nothing else is let in."""

import io
import json
import pickle
import struct
import sys

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, RecordDict
from flwr.common.serde import recorddict_from_proto, recorddict_to_proto

from fedloom.shared.adapter import Adapter
from fedloom.shared.errors import FedLoomError, PlanError, WireError
from fedloom.shared.wire.envelope import Envelope
from fedloom.shared.wire.flower import HEADER, PAYLOAD, from_records, to_records
from fedloom.shared.wire.frame import MAX_HEADER_BYTES, Frame, from_payload, to_payload
from fedloom.shared.wire.messages import (
    AdapterUpdate,
    HeldOut,
    HelloHeader,
    RefusalHeader,
    TaskHeader,
    TrainTask,
    UpdateHeader,
)
from tests.support.plans import a_task

SIZE = 7


def an_update(**changes: object) -> AdapterUpdate:
    fields: dict[str, object] = {
        "plan_sha256": "ab" * 32,
        "site": "north",
        "round": 2,
        "layout_sha256": "cd" * 32,
        "delta": np.array([0.0, -0.0, 1e-45, -1e-38, 3.4e38, 1 / 3, -7.0], np.float32),
        "steps_spent": 4,
        "epsilon_spent": 0.1 + 0.2,
    }
    return AdapterUpdate(**(fields | changes))  # type: ignore[arg-type]


def packed(frame: Frame) -> RecordDict:
    return to_records(Envelope(frame=frame))


def unpacked(records: RecordDict) -> Frame:
    return from_records(records).frame


def over_flower(frame: Frame) -> Frame:
    """Through Flower's records and their wire form."""
    return unpacked(recorddict_from_proto(recorddict_to_proto(packed(frame))))


def with_header(frame: Frame, **changes: object) -> Frame:
    header = json.loads(frame.header) | changes
    return Frame(header=json.dumps(header), payload=frame.payload)


def same_bits(left: np.ndarray, right: np.ndarray) -> bool:
    return left.dtype == right.dtype == np.float32 and left.tobytes() == right.tobytes()


@pytest.mark.parametrize("carried", [lambda frame: frame, over_flower], ids=["frame", "flower"])
def test_a_task_comes_back_bit_by_bit(carried) -> None:
    task = a_task(round_number=2)
    back = TrainTask.unpack(carried(task.pack()))
    assert (back.plan, back.site, back.round) == (task.plan, task.site, task.round)
    assert back.adapter.layout == task.adapter.layout
    assert same_bits(back.adapter.flat, task.adapter.flat)
    assert back.sha256 == task.sha256


@pytest.mark.parametrize("carried", [lambda frame: frame, over_flower], ids=["frame", "flower"])
@pytest.mark.parametrize("epsilon", [None, 0.1 + 0.2])
@pytest.mark.parametrize("held_out", [None, HeldOut(units=-0.1 + 0.3, right=1 / 1024)])
def test_an_update_comes_back_bit_by_bit(
    carried, epsilon: float | None, held_out: HeldOut | None
) -> None:
    update = an_update(epsilon_spent=epsilon, held_out=held_out)
    back = AdapterUpdate.unpack(carried(update.pack()), size=SIZE)
    assert same_bits(back.delta, update.delta)
    for field in ("plan_sha256", "site", "round", "layout_sha256", "steps_spent", "epsilon_spent"):
        assert getattr(back, field) == getattr(update, field)
    assert back.held_out == held_out


@pytest.mark.parametrize(
    "counts",
    [
        "many",
        {},
        {"units": 1.0},
        {"units": 1e13, "right": 0.0},
        {"units": 1.0, "right": -1e13},
        {"units": 3.0, "right": 1.0, "loss": 0.1},
    ],
)
def test_held_out_counts_of_another_form_are_refused(counts: object) -> None:
    frame = with_header(an_update().pack(), held_out=counts)
    with pytest.raises(WireError, match="held_out"):
        AdapterUpdate.unpack(frame, size=SIZE)


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_held_out_counts_that_are_no_numbers_are_refused(number: str) -> None:
    frame = an_update(held_out=HeldOut(units=1.0, right=2.5)).pack()
    assert "2.5" in frame.header
    bad = Frame(header=frame.header.replace("2.5", number), payload=frame.payload)
    with pytest.raises(WireError):
        AdapterUpdate.unpack(bad, size=SIZE)


def test_the_payload_is_little_endian_fp32() -> None:
    # A big-endian or double array must be converted, never sent as its own bytes.
    values = [1.5, -2.25]
    wanted = struct.pack("<2f", *values)
    for kind in ("<f4", ">f4", "<f8"):
        assert to_payload(np.array(values, dtype=kind)) == wanted
    assert to_payload(np.array([1.5, 0, -2.25, 0], np.float32)[::2]) == wanted


def test_what_is_unpacked_may_be_written_to() -> None:
    # torch.from_numpy on a read-only buffer is undefined behaviour.
    flat = from_payload(to_payload(np.ones(3, np.float32)), size=3)
    flat += 1
    assert flat.tolist() == [2, 2, 2]


@pytest.mark.parametrize("payload", [b"", b"\0" * 27, b"\0" * 24, b"\0" * 32])
def test_another_length_is_refused(payload: bytes) -> None:
    frame = Frame(header=an_update().pack().header, payload=payload)
    with pytest.raises(WireError, match=f"payload: {len(payload)} bytes, expected 28"):
        AdapterUpdate.unpack(frame, size=SIZE)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("at", [0, SIZE - 1])
def test_a_number_that_is_not_finite_is_refused(bad: float, at: int) -> None:
    delta = np.zeros(SIZE, np.float32)
    delta[at] = bad
    with pytest.raises(WireError, match="NaN or infinity"):
        AdapterUpdate.unpack(an_update(delta=delta).pack(), size=SIZE)
    flat = np.full_like(a_task().adapter.flat, bad)
    task = a_task()
    frame = TrainTask(
        plan=task.plan,
        site="north",
        round=1,
        adapter=Adapter(layout=task.adapter.layout, flat=flat),
    ).pack()
    with pytest.raises(WireError, match="NaN or infinity"):
        TrainTask.unpack(frame)


def test_a_payload_that_is_a_pickle_is_refused_by_its_length() -> None:
    class Trap:
        def __reduce__(self):
            return (sys.exit, ("unpickled",))

    frame = Frame(header=an_update().pack().header, payload=pickle.dumps(Trap()))
    with pytest.raises(WireError, match="bytes, expected"):
        AdapterUpdate.unpack(frame, size=SIZE)


def test_bytes_of_numpys_or_pickles_are_raw_numbers_at_most() -> None:
    # Of the right length, they are what any bytes are: fp32 numbers, here finite ones.
    file = io.BytesIO()
    np.save(file, np.zeros(4, np.float32))
    for raw in (file.getvalue(), pickle.dumps([0.0] * 20, protocol=0)):
        content = raw + b"\0" * (-len(raw) % 4)
        try:
            found = from_payload(content, size=len(content) // 4)
        except WireError:
            continue
        assert found.tobytes() == content


def test_flower_never_deserialises_the_array() -> None:
    array = Array(dtype="float32", shape=(1,), stype="numpy.ndarray", data=pickle.dumps("x"))
    records = packed(Frame(header="{}"))
    records[PAYLOAD] = ArrayRecord({"flat": array})
    with pytest.raises(WireError, match="no raw array"):
        from_records(records)


@pytest.mark.parametrize(
    "records",
    [
        RecordDict(),
        RecordDict({"other": ConfigRecord({"json": "{}"})}),
        RecordDict({HEADER: ConfigRecord({"text": "{}"})}),
        RecordDict({HEADER: ConfigRecord({"json": 3})}),
        RecordDict({HEADER: ConfigRecord({"json": b"{}"})}),
        RecordDict({HEADER: ConfigRecord({"json": ["{}"]})}),
        RecordDict({HEADER: ArrayRecord()}),
        RecordDict({HEADER: ConfigRecord({"json": "{}"}), PAYLOAD: ArrayRecord()}),
    ],
    ids=["empty", "name", "key", "int", "bytes", "list", "kind", "no-array"],
)
def test_a_missing_record_is_a_wire_error(records: RecordDict) -> None:
    with pytest.raises(WireError, match="message:"):
        from_records(records)


def test_every_message_gets_records_of_its_own() -> None:
    # Flower hands the same object to an in-process client; one site must not see another's edit.
    frame = an_update().pack()
    first, second = packed(frame), packed(frame)
    del first[PAYLOAD]
    first.config_records[HEADER]["json"] = "changed"
    assert unpacked(second) == frame
    assert unpacked(packed(frame)) == frame


def test_a_refusal_has_no_payload() -> None:
    frame = RefusalHeader(site="north", rule="epsilon").frame()
    assert over_flower(frame) == frame
    assert PAYLOAD not in packed(frame)
    assert frame.nbytes == len(frame.header)


HEADERS = {
    "task": (a_task().pack(), TrainTask.unpack),
    "update": (an_update().pack(), lambda frame: AdapterUpdate.unpack(frame, size=SIZE)),
    "hello": (
        HelloHeader(site="north", budget=None).frame(),
        lambda frame: HelloHeader.parse(frame.header),
    ),
    "refusal": (
        RefusalHeader(site="north", rule="epsilon").frame(),
        lambda frame: RefusalHeader.parse(frame.header),
    ),
}


@pytest.mark.parametrize("kind", HEADERS)
@pytest.mark.parametrize(
    "change",
    [
        {"extra": 1},
        {"format": 2},
        {"format": "1"},
        {"format": None},
        {"kind": "something-else"},
        {"kind": None},
        {"site": "a/b"},
        {"site": ""},
        {"site": "x" * 65},
        {"site": 7},
    ],
    ids=str,
)
def test_a_header_with_anything_else_is_refused(kind: str, change: dict[str, object]) -> None:
    frame, unpack = HEADERS[kind]
    unpack(frame)
    with pytest.raises(WireError):
        unpack(with_header(frame, **change))


@pytest.mark.parametrize("kind", HEADERS)
@pytest.mark.parametrize("other", HEADERS)
def test_one_kind_is_not_taken_for_another(kind: str, other: str) -> None:
    if kind == other:
        return
    with pytest.raises(WireError):
        HEADERS[kind][1](HEADERS[other][0])


@pytest.mark.parametrize("kind", HEADERS)
@pytest.mark.parametrize("text", ["", "{", "[]", "null", "3", '"x"', "{}", "\0", "[" * 100_000])
def test_a_header_that_is_no_object_is_refused(kind: str, text: str) -> None:
    frame, unpack = HEADERS[kind]
    with pytest.raises(WireError):
        unpack(Frame(header=text, payload=frame.payload))


@pytest.mark.parametrize(
    "change",
    [
        {"round": 0},
        {"round": 1.5},
        {"steps_spent": 0},
        {"epsilon_spent": -0.1},
        {"epsilon_spent": float("nan")},
        {"epsilon_spent": float("inf")},
        {"plan_sha256": "AB" * 32},
        {"plan_sha256": "ab" * 31},
        {"plan_sha256": "ab" * 32 + "\n"},
        {"layout_sha256": "<script>"},
    ],
    ids=str,
)
def test_an_updates_fields_out_of_range_are_refused(change: dict[str, object]) -> None:
    with pytest.raises(WireError):
        AdapterUpdate.unpack(with_header(an_update().pack(), **change), size=SIZE)


@pytest.mark.parametrize(
    "manifest",
    [
        [["w", [-1]]],
        [["w", [0]]],
        [["w", [1.5]]],
        [["w"]],
        [["w", 20]],
        [["w", [2**62, 2**62]]],
        [["w", [21]]],
        [],
        None,
    ],
    ids=str,
)
def test_a_tasks_manifest_must_fit_its_payload(manifest: object) -> None:
    # The huge shape must be refused by arithmetic, not by trying to allocate it.
    with pytest.raises(WireError):
        TrainTask.unpack(with_header(a_task().pack(), manifest=manifest))


def test_a_task_whose_plan_is_not_the_named_one_is_refused() -> None:
    frame = a_task().pack()
    header = json.loads(frame.header)
    looser = header["plan"].replace('"delta":1e-05', '"delta":1e-03')
    assert looser != header["plan"]
    with pytest.raises(PlanError):
        TrainTask.unpack(with_header(frame, plan=looser))


def test_a_plan_with_half_a_surrogate_is_refused() -> None:
    frame = with_header(a_task().pack(), plan="\ud800")
    with pytest.raises(FedLoomError):
        TrainTask.unpack(frame)


@pytest.mark.parametrize("rule", ["epsilon", "base-model", "a", "a" * 64, "r2-d2"])
def test_a_refusals_rule_is_a_name(rule: str) -> None:
    text = RefusalHeader(site="north", rule=rule).frame().header
    assert RefusalHeader.parse(text).rule == rule


@pytest.mark.parametrize(
    "rule", ["", "Epsilon", "two words", "-a", "2a", "a" * 65, "a\n", "row 3: Mrs M.", "<b>", None]
)
def test_a_refusal_cannot_carry_words(rule: object) -> None:
    # The only text that leaves a site on a fault; a free one would be a release.
    frame = RefusalHeader(site="north", rule="epsilon").frame()
    with pytest.raises(WireError):
        RefusalHeader.parse(with_header(frame, rule=rule).header)


def test_an_oversized_header_is_refused_before_it_is_parsed() -> None:
    with pytest.raises(WireError, match=f"header above {MAX_HEADER_BYTES} bytes"):
        UpdateHeader.parse(" " * (MAX_HEADER_BYTES + 1))
    with pytest.raises(WireError, match="header above"):
        TaskHeader.parse("é" * (MAX_HEADER_BYTES // 2 + 1))


@pytest.mark.parametrize("key", ["x" * 100_000, "two\nlines"])
def test_a_peers_key_cannot_flood_or_break_the_log_line(key: str) -> None:
    frame = with_header(an_update().pack(), **{key: 1})
    with pytest.raises(WireError) as caught:
        AdapterUpdate.unpack(frame, size=SIZE)
    assert len(str(caught.value)) < 1000
    assert "\n" not in str(caught.value)


def test_frames_survive_a_flower_message() -> None:
    message = Message(packed(an_update().pack()), dst_node_id=3, message_type="train")
    assert unpacked(message.content) == an_update().pack()
