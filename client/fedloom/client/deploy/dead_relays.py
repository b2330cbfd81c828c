"""A node answers for a relay that ended without an answer, however it ended."""

from collections.abc import Sequence

from flwr.common.constant import SubStatus
from flwr.proto.task_pb2 import Task
from flwr.supercore.constant import TaskType
from flwr.supernode.nodestate.in_memory_nodestate import (
    CLIENT_APP_CRASHED_ERROR,
    InMemoryNodeState,
)


def answer_for_dead_relays() -> None:
    """Let Flower's node give an error for each message whose relay is no more.

    Flower's own waits for ever, and takes no other message, where the relay was told to end, or
    died before it had fetched its message.
    """
    finish, expire = InMemoryNodeState.finish_task, InMemoryNodeState._on_task_tokens_expired

    def finish_task(state: InMemoryNodeState, task_id: int, sub_status: str, details: str) -> bool:
        done = finish(state, task_id, sub_status, details)
        if done and sub_status != SubStatus.COMPLETED:
            _answer_for(state, state.get_tasks(task_ids=[task_id]))
        return done

    def on_task_tokens_expired(state: InMemoryNodeState, tasks: list[Task]) -> None:
        _answer_for(state, tasks)
        expire(state, tasks)

    InMemoryNodeState.finish_task = finish_task  # type: ignore[method-assign,assignment]
    InMemoryNodeState._on_task_tokens_expired = (  # type: ignore[method-assign]
        on_task_tokens_expired  # type: ignore[assignment]
    )


def _answer_for(state: InMemoryNodeState, tasks: Sequence[Task]) -> None:
    runs = {task.run_id for task in tasks if task.type == TaskType.CLIENT_APP}
    with state.lock_msg_store:
        for entry in state.msg_store.values():
            metadata = entry.message.metadata
            if metadata.run_id in runs and not metadata.reply_to_message_id:
                # Nobody else will fetch it.
                entry.is_retrieved = True
    state._store_error_replies(runs, CLIENT_APP_CRASHED_ERROR)
