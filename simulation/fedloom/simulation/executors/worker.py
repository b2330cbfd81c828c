"""The worker process: reads jobs from a pipe, calls the ClientApp, writes replies.

Started as `python -m fedloom.simulation.executors.worker JOBS_FD LIFELINE_FD MODULE:ATTRIBUTE`.
Jobs and replies are Flower's protobuf messages; nothing is pickled.
"""

import importlib
import os
import sys
import threading
from multiprocessing.connection import Connection

from flwr.app import Context, Error, Message
from flwr.clientapp import ClientApp
from flwr.common.constant import ErrorCode
from flwr.common.serde import context_from_proto, message_from_proto, message_to_proto
from flwr.proto.message_pb2 import Context as ProtoContext
from flwr.proto.message_pb2 import Message as ProtoMessage

from fedloom.shared.quiet import quiet_libraries

_ORPHANED = 70


def main(jobs_fd: str, lifeline_fd: str, component: str) -> None:
    """Serve jobs until the pipe closes."""
    quiet_libraries()
    threading.Thread(target=_die_with_parent, args=(int(lifeline_fd),), daemon=True).start()
    app = load_client_app(component)
    jobs = Connection(int(jobs_fd))
    while True:
        try:
            context = context_from_proto(ProtoContext.FromString(jobs.recv_bytes()))
            message = message_from_proto(ProtoMessage.FromString(jobs.recv_bytes()))
        except EOFError:
            return
        reply = _answer(app, message, context)
        jobs.send_bytes(message_to_proto(reply).SerializeToString())


def load_client_app(component: str) -> ClientApp:
    """The ClientApp that `module:attribute` names.

    Raises:
        TypeError: the attribute is something else.
    """
    module, _, attribute = component.partition(":")
    app = getattr(importlib.import_module(module), attribute)
    if not isinstance(app, ClientApp):
        raise TypeError(f"{component}: expected a flwr ClientApp, got {type(app).__name__}")
    return app


def _answer(app: ClientApp, message: Message, context: Context) -> Message:
    try:
        return app(message, context)
    except Exception:  # noqa: BLE001 - the server gets an error reply, never the text
        error = Error(code=ErrorCode.CLIENT_APP_RAISED_EXCEPTION, reason="the ClientApp raised")
        return Message(error, reply_to=message)


def _die_with_parent(lifeline: int) -> None:
    # The parent holds the other end and never writes: a read returns only when it is gone. A
    # worker that trained on after a killed run would hold its sites' ledgers against a resume.
    os.read(lifeline, 1)
    os._exit(_ORPHANED)


if __name__ == "__main__":
    main(*sys.argv[1:])
