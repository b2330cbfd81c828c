"""Flower's Grid inside one process: the ServerApp speaks to it as to a SuperLink."""

import uuid
from collections.abc import Iterable, Mapping

from flwr.app import Context, Message, RecordDict
from flwr.app.user_config import UserConfig
from flwr.common.constant import SUPERLINK_NODE_ID
from flwr.common.serde import message_from_proto, message_to_proto
from flwr.serverapp import Grid
from flwr.supercore.run import Run
from flwr.supercore.task_identity import TaskIdentity

from fedloom.simulation.executors.base import Executor, Job

RUN_ID = 1


class InProcessGrid(Grid):
    """Hands each message, copied, to an executor and its reply back.

    Memory: messages that wait, and replies that nobody has pulled yet; nothing else is kept.
    """

    def __init__(self, nodes: Mapping[int, UserConfig], executor: Executor) -> None:
        self._nodes = dict(nodes)
        self._executor = executor
        self._arrived: dict[str, Message] = {}
        self._run = Run.create_empty(run_id=RUN_ID)
        become_server()

    def set_run(self, run: Run) -> None:
        """Say which run this grid carries."""
        self._run = run

    @property
    def run(self) -> Run:
        """The run that this grid carries."""
        return self._run

    def create_message(
        self,
        content: RecordDict,
        message_type: str,
        dst_node_id: int,
        group_id: str,
        ttl: float | None = None,
    ) -> Message:
        """A message from the server to a node (Flower keeps this for older apps)."""
        return Message(content, dst_node_id, message_type, ttl=ttl, group_id=group_id)

    def get_node_ids(self) -> Iterable[int]:
        """All nodes."""
        return list(self._nodes)

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        """Queue messages; a node's own copy is what its ClientApp may change."""
        return [self._push(message) for message in messages]

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        """Replies that have arrived to the given messages, each handed out once."""
        wanted = list(message_ids)
        if not any(message_id in self._arrived for message_id in wanted):
            self._gather()
        return [self._arrived.pop(at) for at in wanted if at in self._arrived]

    def send_and_receive(
        self, messages: Iterable[Message], *, timeout: float | None = None
    ) -> Iterable[Message]:
        """Push, then wait for all replies; `timeout` is the messages' own time to live."""
        waiting = set(self.push_messages(messages))
        found: list[Message] = []
        while waiting:
            arrived = list(self.pull_messages(waiting))
            waiting -= {message.metadata.reply_to_message_id for message in arrived}
            found.extend(arrived)
        return found

    def _push(self, message: Message) -> str:
        message_id = str(uuid.uuid4())
        message.metadata.__dict__["_message_id"] = message_id
        copy = message_from_proto(message_to_proto(message))
        self._executor.submit(Job(message=copy, context=self._context(copy)))
        return message_id

    def _context(self, message: Message) -> Context:
        node = message.metadata.dst_node_id
        return Context(
            run_id=self._run.run_id,
            node_id=node,
            node_config=self._nodes[node],
            state=RecordDict(),
            run_config={},
        )

    def _gather(self) -> None:
        for reply in self._executor.collect():
            self._arrived[reply.metadata.reply_to_message_id] = reply


def become_server() -> None:
    """Let this process build messages as Flower's server does outside its own processes."""
    TaskIdentity.run_id = RUN_ID
    TaskIdentity.node_id = SUPERLINK_NODE_ID
    TaskIdentity.task_id = 0
