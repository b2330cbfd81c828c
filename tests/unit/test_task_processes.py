"""Processes that Flower starts for tasks end with the one that started them."""

import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from flwr.app import Message, RecordDict
from flwr.app.message import make_message
from flwr.app.metadata import Metadata
from flwr.common.constant import ErrorCode, SubStatus
from flwr.proto.task_pb2 import Task
from flwr.supercore.constant import TaskType
from flwr.supercore.object_store.in_memory_object_store import InMemoryObjectStore
from flwr.supernode.nodestate.in_memory_nodestate import InMemoryNodeState

from fedloom.client.deploy.dead_relays import answer_for_dead_relays

_PARENT = """
import importlib, pathlib, sys
from fedloom.shared.flower_process import hide_task_tokens
hide_task_tokens(pathlib.Path(sys.argv[1]), {"flwr-task": [sys.executable, "-c"]})
executor = importlib.import_module("flwr.supercore.superexec.executor.subprocess_executor")
code = (
    "import os, sys, time;"
    "print(os.getpid(), open(sys.argv[2]).read(), flush=True); time.sleep(60)"
)
executor.subprocess.Popen(["flwr-task", code, "--token", "a token"]).wait()
"""


@pytest.mark.skipif(shutil.which("setpriv") is None, reason="no setpriv")
@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_a_task_ends_with_who_started_it(tmp_path: Path, how: signal.Signals) -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", _PARENT, str(tmp_path / "tasks")],
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert parent.stdout is not None
    pid, handed = parent.stdout.readline().strip().split(maxsplit=1)
    assert handed == "a token"
    parent.send_signal(how)
    parent.wait(10)
    end = time.monotonic() + 10
    while psutil.pid_exists(int(pid)) and time.monotonic() < end:
        time.sleep(0.05)
    assert not psutil.pid_exists(int(pid))


def a_node() -> InMemoryNodeState:
    node = InMemoryNodeState(InMemoryObjectStore())
    node.set_node_id(7)
    return node


def a_message() -> Message:
    metadata = Metadata(
        run_id=1, message_id="m", src_node_id=1, dst_node_id=7, reply_to_message_id="",
        group_id="", created_at=time.time(), ttl=60.0, message_type="train",
    )  # fmt: skip
    return make_message(metadata, content=RecordDict())


@pytest.fixture
def patched(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a node's own process, and put back."""
    for name in ("finish_task", "_on_task_tokens_expired"):
        monkeypatch.setattr(InMemoryNodeState, name, getattr(InMemoryNodeState, name))
    answer_for_dead_relays()


@pytest.mark.parametrize("fetched", [True, False])
@pytest.mark.parametrize("how", [SubStatus.STOPPED, SubStatus.FAILED])
@pytest.mark.usefixtures("patched")
def test_a_node_answers_for_a_relay_that_ended_without_an_answer(fetched: bool, how: str) -> None:
    node = a_node()
    node.store_message(a_message())
    task = node.create_task(task_type=TaskType.CLIENT_APP, run_id=1, fab_hash="h")
    assert task is not None
    if fetched:
        assert len(node.get_messages_legacy(is_reply=False)) == 1
    assert node.finish_task(task, how, "")
    (reply,) = node.get_messages_legacy(is_reply=True)
    assert reply.error.code == ErrorCode.CLIENT_APP_CRASHED
    assert reply.metadata.reply_to_message_id == "m"


@pytest.mark.usefixtures("patched")
def test_a_node_answers_for_a_relay_that_was_killed_before_it_had_its_message() -> None:
    node = a_node()
    node.store_message(a_message())
    node._on_task_tokens_expired([Task(task_id=3, type=TaskType.CLIENT_APP, run_id=1)])
    assert len(node.get_messages_legacy(is_reply=True)) == 1
