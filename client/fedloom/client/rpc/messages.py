"""Envelopes as the messages of `site.proto`, and back."""

from fedloom.client.rpc.site_pb2 import Answer, Task
from fedloom.shared.wire.envelope import Envelope
from fedloom.shared.wire.frame import Frame
from fedloom.shared.wire.heads import LedgerHead


def to_task(asked: Envelope) -> Task:
    """A coordinator's task for the service."""
    frame = asked.frame
    return Task(
        header=frame.header,
        payload=frame.payload,
        remembered_head=_head_text(asked),
        signature=asked.signature or "",
    )


def from_task(task: Task) -> Envelope:
    """What a relay handed on.

    Raises:
        WireError: its head is malformed.
    """
    frame = Frame(header=task.header, payload=task.payload)
    return _envelope(frame, task.remembered_head, task.signature)


def to_answer(answer: Envelope) -> Answer:
    """A site's answer for the relay."""
    frame = answer.frame
    return Answer(
        header=frame.header,
        payload=frame.payload,
        head=_head_text(answer),
        signature=answer.signature or "",
    )


def from_answer(answer: Answer) -> Envelope:
    """What the service answered.

    Raises:
        WireError: its head is malformed.
    """
    frame = Frame(header=answer.header, payload=answer.payload)
    return _envelope(frame, answer.head, answer.signature)


def _envelope(frame: Frame, head: str, signature: str) -> Envelope:
    found = LedgerHead.parse(head) if head else None
    return Envelope(frame=frame, head=found, signature=signature or None)


def _head_text(envelope: Envelope) -> str:
    return "" if envelope.head is None else envelope.head.model_dump_json()
