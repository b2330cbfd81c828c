"""Anything at all on the site's socket and in its ledger's file: no crash, and nothing let out.

`make fuzz` runs 10,000 cases of each; the default tests a few.
"""

import hashlib
import json
import logging
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import grpc
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fedloom.client.ledger.audit import LedgerExport, verify_export
from fedloom.client.ledger.entries import Entry, charge_of
from fedloom.client.ledger.ledger import Ledger
from fedloom.client.rpc.site_pb2 import Task
from fedloom.client.rpc.site_pb2_grpc import SiteStub
from fedloom.client.training.trainer import Trainer
from fedloom.shared.errors import LedgerError
from fedloom.shared.wire.frame import Frame
from fedloom.shared.wire.messages import RefusalHeader, TrainTask, UpdateHeader
from tests.support.ledgers import begun
from tests.support.plans import a_task
from tests.support.served import behind_a_socket
from tests.support.sites import a_policy, a_site, write_settings
from tests.support.training import make_plan, site_plan

CASES = int(os.environ.get("FEDLOOM_FUZZ", "60"))
FUZZ = settings(
    max_examples=CASES,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
ROWS, BATCH = 60, 20

scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False)
    | st.text(max_size=20)
)
anything = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=6,
)


@dataclass(frozen=True, kw_only=True)
class Surface:
    """A served site, and a task that it would answer."""

    stub: SiteStub
    header: dict[str, object]
    payload: bytes


@pytest.fixture(scope="module")
def surface(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> Iterator[Surface]:
    config = a_site(tmp_path_factory.mktemp("site"), model=tiny_model, rows=ROWS)
    site = site_plan(rate=BATCH / ROWS, units=ROWS)
    plan = make_plan(tiny_model, batch=BATCH, site=site, seed=None)
    start = Trainer(plan, tiny_model).start
    task = TrainTask(plan=plan, site="north", round=1, adapter=start).pack()
    honest = Task(header=task.header, payload=task.payload)
    with (
        behind_a_socket(write_settings(config, a_policy(min_units=10))) as address,
        grpc.insecure_channel(address.target) as channel,
    ):
        header = json.loads(task.header)
        stumbled = _Stumbled()
        logging.getLogger("fedloom.site").addHandler(stumbled)
        yield Surface(stub=SiteStub(channel), header=header, payload=task.payload)
        logging.getLogger("fedloom.site").removeHandler(stumbled)
        assert stumbled.said == [], "a refusal that nobody foresaw is a crash"
        check_answer(Surface(stub=SiteStub(channel), header=header, payload=b""), honest)
    assert Ledger(config.state).spent().rounds >= 1


class _Stumbled(logging.Handler):
    """What the desk says of errors that it did not foresee."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.said: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if record.exc_info:
            self.said.append(record.getMessage())


def check_answer(surface: Surface, task: Task) -> None:
    """A whole update, or a rule and not one byte more."""
    *_, last = surface.stub.Train(task, timeout=120)
    answer = last.answer
    if json.loads(answer.header)["kind"] == "adapter-update":
        UpdateHeader.parse(answer.header)
        assert len(answer.payload) > 0 and answer.head
    else:
        RefusalHeader.parse(answer.header)
        assert not answer.payload and not answer.head


@FUZZ
@given(header=st.text(max_size=200), payload=st.binary(max_size=64), head=st.text(max_size=64))
def test_arbitrary_fields(surface: Surface, header: str, payload: bytes, head: str) -> None:
    check_answer(surface, Task(header=header, payload=payload, remembered_head=head))


@FUZZ
@given(content=st.binary(max_size=300))
def test_arbitrary_bytes(surface: Surface, content: bytes) -> None:
    """Bytes that happen to be a message are answered; others end in a status."""
    try:
        task = Task.FromString(content)
    except Exception:  # noqa: BLE001 - protobuf's own; the service's side of it is next
        channel_call = surface.stub.Train
        with pytest.raises(grpc.RpcError):
            list(channel_call(_Raw(content), timeout=60))
        return
    check_answer(surface, task)


class _Raw:
    """Passes for a message, and is serialised to whatever bytes it holds."""

    def __init__(self, content: bytes) -> None:
        self._content = content

    def SerializeToString(self) -> bytes:  # noqa: N802
        return self._content


@FUZZ
@given(data=st.data())
def test_a_valid_task_with_one_thing_changed(surface: Surface, data: st.DataObject) -> None:
    """In the header, or in the plan, whose hash is then made to fit: so that it gets far."""
    header = json.loads(json.dumps(surface.header))
    if data.draw(st.booleans()):
        _change(header, data)
    else:
        plan = json.loads(str(header["plan"]))
        _change(plan, data)
        text = json.dumps(plan, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        header |= {"plan": text, "plan_sha256": _sha256(text)}
    text = json.dumps(header, ensure_ascii=data.draw(st.booleans()))
    try:
        task = Task(header=text, payload=surface.payload)
    except (ValueError, UnicodeEncodeError):
        return  # No UTF-8: protobuf would not send it.
    check_answer(surface, task)


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode(errors="replace")).hexdigest()


def _change(tree: dict[str, object], data: st.DataObject) -> None:
    key = data.draw(st.sampled_from(sorted(tree)))
    inner = tree[key]
    if isinstance(inner, dict) and inner and data.draw(st.booleans()):
        _change(inner, data)
    elif data.draw(st.integers(0, 4)) == 0:
        del tree[key]
    elif isinstance(inner, int | float) and data.draw(st.booleans()):
        tree[key] = data.draw(st.floats(-10, 1e5, allow_nan=False) | st.integers(-2, 10**6))
    else:
        tree[key] = data.draw(anything)


@pytest.fixture(scope="module")
def ledger(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, tuple[Entry, ...]]:
    folder = tmp_path_factory.mktemp("ledger") / "state"
    found = begun(folder)
    for number in (1, 2, 3):
        charge = charge_of(a_task(round_number=number))
        found.reserve(charge)
        found.seal(charge, Frame(header="{}", payload=b"update"))
    return folder, found.entries()


@FUZZ
@given(data=st.data())
def test_a_ledger_file_with_bytes_changed(
    ledger: tuple[Path, tuple[Entry, ...]],
    tmp_path_factory: pytest.TempPathFactory,
    data: st.DataObject,
) -> None:
    """Found out, or what it says is still true: never other entries, never another error."""
    folder, entries = ledger
    copy = tmp_path_factory.getbasetemp() / "fuzzed"
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(folder, copy)
    path = copy / "ledger.sqlite"
    path.write_bytes(_damaged(path.read_bytes(), data))
    path.chmod(0o600)
    try:
        found = Ledger(copy).entries()
    except LedgerError as error:
        assert "\n" not in str(error)
        return
    # Fewer entries at the end are what a remembered head is for.
    assert found == entries[: len(found)]


@FUZZ
@given(data=st.data())
def test_an_export_with_bytes_changed(
    ledger: tuple[Path, tuple[Entry, ...]],
    tmp_path_factory: pytest.TempPathFactory,
    data: st.DataObject,
) -> None:
    folder, entries = ledger
    exported = LedgerExport.of(Ledger(folder))
    path = tmp_path_factory.getbasetemp() / "export.json"
    path.write_bytes(_damaged(exported.model_dump_json().encode(), data))
    try:
        found = verify_export(path, public_key=exported.public_key).entries
    except LedgerError:
        return
    assert found == entries[: len(found)]


def _damaged(content: bytes, data: st.DataObject) -> bytes:
    """Some bytes overwritten, a part cut out or put in, or the end cut off."""
    at = data.draw(st.integers(0, len(content) - 1))
    new = data.draw(st.binary(min_size=1, max_size=8))
    ways = {
        "overwrite": content[:at] + new + content[at + len(new) :],
        "insert": content[:at] + new + content[at:],
        "cut out": content[:at] + content[at + len(new) :],
        "cut off": content[:at],
    }
    return ways[data.draw(st.sampled_from(sorted(ways)))]
