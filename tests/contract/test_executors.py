"""Every executor: one reply for each job, errors as replies, nothing shared between clients."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from flwr.app import ConfigRecord, Context, Message, RecordDict
from flwr.clientapp import ClientApp

from fedloom.simulation.executors.base import Executor
from fedloom.simulation.executors.pool import PoolExecutor
from fedloom.simulation.executors.serial import SerialExecutor
from fedloom.simulation.grid import InProcessGrid

app = ClientApp()


@app.train()
def train(message: Message, context: Context) -> Message:
    """Counts how often this very record was touched, and fails when its node says so."""
    if context.node_config.get("fails"):
        raise RuntimeError("private words")
    record = message.content.config_records["job"]
    record["touched"] = int(str(record["touched"])) + 1
    record["node"] = context.node_id
    return Message(message.content, reply_to=message)


@pytest.fixture(params=["serial", "pool"])
def executor(request: pytest.FixtureRequest) -> Iterator[Executor]:
    kinds = {
        "serial": lambda: SerialExecutor(app),
        "pool": lambda: PoolExecutor("tests.contract.test_executors:app", workers=2),
    }
    with closing(kinds[request.param]()) as made:
        yield made


def test_contract(executor: Executor) -> None:
    nodes = {number: {"fails": number == 3} for number in range(2, 7)}
    grid = InProcessGrid(nodes, executor)
    shared = RecordDict({"job": ConfigRecord({"touched": 0})})
    messages = [Message(shared, dst_node_id=node, message_type="train") for node in nodes]
    replies = {reply.metadata.src_node_id: reply for reply in grid.send_and_receive(messages)}
    assert set(replies) == set(nodes), "exactly one reply for each job"
    assert replies.pop(3).has_error()
    for node, reply in replies.items():
        record = reply.content.config_records["job"]
        assert record["touched"] == 1, "clients must not share a record"
        assert record["node"] == node
    assert shared.config_records["job"]["touched"] == 0, "the server's own record stays"


def test_an_exception_never_travels(executor: Executor) -> None:
    grid = InProcessGrid({2: {"fails": True}}, executor)
    message = Message(
        RecordDict({"job": ConfigRecord({"touched": 0})}), dst_node_id=2, message_type="train"
    )
    (reply,) = grid.send_and_receive([message])
    assert "private words" not in str(reply.error)


def test_a_killed_worker_is_an_error_reply_and_the_next_job_runs(tmp_path: Path) -> None:
    with closing(PoolExecutor("tests.contract.test_executors:app", workers=1)) as pool:
        grid = InProcessGrid({2: {}}, pool)
        import os
        import signal

        os.kill(pool.pids[0], signal.SIGKILL)

        def ask() -> Message:
            content = RecordDict({"job": ConfigRecord({"touched": 0})})
            (reply,) = grid.send_and_receive(
                [Message(content, dst_node_id=2, message_type="train")]
            )
            return reply

        assert ask().has_error()
        assert ask().has_content()
