"""FedLoom's ClientApp with a fault at one site: for tests of what a server survives.

The variable FEDLOOM_TEST_FAULT names site and fault, as `site1:die`; several with commas.
"""

import json
import os
import signal
import time
from collections.abc import Callable, Mapping

import numpy as np
from flwr.app import Context, Message
from flwr.clientapp import ClientApp

from fedloom.client.app import make_client_app
from fedloom.client.site.directory import SiteDirectory
from fedloom.shared.wire.envelope import Envelope
from fedloom.shared.wire.flower import from_records, to_records
from fedloom.shared.wire.frame import Frame
from fedloom.simulation.site_app import SITE_SETTINGS, in_process

VARIABLE = "FEDLOOM_TEST_FAULT"
PRIVATE_WORDS = "patient 4711 has a cough"

Change = Callable[[Frame], Frame]


def _with_payload(change: Callable[[np.ndarray], np.ndarray]) -> Change:
    def changed(frame: Frame) -> Frame:
        values = np.frombuffer(frame.payload, dtype="<f4").copy()
        return Frame(header=frame.header, payload=change(values).astype("<f4").tobytes())

    return changed


def _nan(values: np.ndarray) -> np.ndarray:
    values[3] = np.nan
    return values


def _with_counts(counts: Mapping[str, float] | None) -> Change:
    def changed(frame: Frame) -> Frame:
        header = json.loads(frame.header) | {"held_out": counts}
        return Frame(header=json.dumps(header), payload=frame.payload)

    return changed


# What a lying site changes in its own honest reply.
LIES: Mapping[str, Change] = {
    "nan": _with_payload(_nan),
    "shape": _with_payload(lambda values: values[:-1]),
    "norm": _with_payload(lambda values: values + 1e3),
    "round": lambda frame: Frame(
        header=frame.header.replace('"round":1', '"round":2'), payload=frame.payload
    ),
    "headless": lambda frame: frame,
    "chatty": _with_counts({"units": 30.0, "right": 20.0}),
    "silent": _with_counts(None),
    "monstrous": _with_counts({"units": 1e308, "right": 1e308}),
    "header": lambda frame: Frame(header="{not json", payload=frame.payload),
}


class FaultyApp(ClientApp):
    """Delegates to the true app, but for the sites that the variable names."""

    def __init__(self) -> None:
        super().__init__()
        self._honest = make_client_app(in_process(SiteDirectory()))

    def __call__(self, message: Message, context: Context) -> Message:
        fault = self._fault(str(context.node_config[SITE_SETTINGS]))
        if message.metadata.message_type != "train" or fault is None:
            return self._honest(message, context)
        if fault == "raise":
            raise RuntimeError(PRIVATE_WORDS)
        if fault == "hang":
            time.sleep(600)
        if fault == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        reply = self._honest(message, context)
        told = from_records(reply.content)
        head = None if fault == "headless" else told.head
        lie = Envelope(frame=LIES[fault](told.frame), head=head)
        return Message(to_records(lie), reply_to=message)

    def _fault(self, settings: str) -> str | None:
        for entry in filter(None, os.environ.get(VARIABLE, "").split(",")):
            site, _, fault = entry.partition(":")
            if f"/{site}/" in settings:
                return fault
        return None


app = FaultyApp()
