"""Envelopes as the messages of `site.proto`, and back."""

from fedloom.client.rpc.site_pb2 import Answer, Task
from fedloom.shared.wire.envelope import Envelope
from fedloom.shared.wire.frame import Frame
from fedloom.shared.wire.heads import LedgerHead


def to_task(asked: Envelope) -> Task:
    """A coordinator's task for the service."""
    frame = asked.frame
    return Task(header=frame.header, payload=frame.payload, remembered_head=_head_text(asked))


def from_task(task: Task) -> Envelope:
    """What a relay handed on.

    Raises:
        WireError: its head is malformed.
    """
    return _envelope(task.header, task.payload, task.remembered_head)


def to_answer(answer: Envelope) -> Answer:
    """A site's answer for the relay."""
    frame = answer.frame
    return Answer(header=frame.header, payload=frame.payload, head=_head_text(answer))


def from_answer(answer: Answer) -> Envelope:
    """What the service answered.

    Raises:
        WireError: its head is malformed.
    """
    return _envelope(answer.header, answer.payload, answer.head)


def _envelope(header: str, payload: bytes, head: str) -> Envelope:
    found = LedgerHead.parse(head) if head else None
    return Envelope(frame=Frame(header=header, payload=payload), head=found)


def _head_text(envelope: Envelope) -> str:
    return "" if envelope.head is None else envelope.head.model_dump_json()
