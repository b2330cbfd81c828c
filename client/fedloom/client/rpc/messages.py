"""Envelopes as the messages of `site.proto`, and back."""

from fedloom.client.rpc.site_pb2 import Answer, HelloRequest, Task
from fedloom.shared.errors import WireError
from fedloom.shared.signing import is_signature
from fedloom.shared.wire.envelope import Envelope
from fedloom.shared.wire.frame import Frame
from fedloom.shared.wire.heads import LedgerHead
from fedloom.shared.wire.stamp import Stamp


def to_task(asked: Envelope) -> Task:
    """A coordinator's task for the service."""
    frame = asked.frame
    return Task(
        header=frame.header,
        payload=frame.payload,
        remembered_head=_head_text(asked),
        signature=asked.signature or "",
        stamp=_stamp_text(asked),
    )


def from_task(task: Task) -> Envelope:
    """What a relay handed on.

    Raises:
        WireError: its head, stamp or signature is malformed.
    """
    frame = Frame(header=task.header, payload=task.payload)
    return _envelope(frame, task.remembered_head, task.signature, task.stamp)


def to_hello(asked: Envelope) -> HelloRequest:
    """A coordinator's question who the site is, for the service."""
    return HelloRequest(
        header=asked.frame.header, signature=asked.signature or "", stamp=_stamp_text(asked)
    )


def from_hello(request: HelloRequest) -> Envelope:
    """What a relay handed on.

    Raises:
        WireError: its stamp or signature is malformed.
    """
    return _envelope(Frame(header=request.header), "", request.signature, request.stamp)


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


def _envelope(frame: Frame, head: str, signature: str, stamp: str = "") -> Envelope:
    if signature and not is_signature(signature):
        raise WireError("message: its signature is none, expected 128 hex digits")
    return Envelope(
        frame=frame,
        head=LedgerHead.parse(head) if head else None,
        signature=signature or None,
        stamp=Stamp.parse(stamp) if stamp else None,
    )


def _stamp_text(envelope: Envelope) -> str:
    return "" if envelope.stamp is None else envelope.stamp.model_dump_json()


def _head_text(envelope: Envelope) -> str:
    return "" if envelope.head is None else envelope.head.model_dump_json()
