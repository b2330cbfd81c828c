"""The Flower ClientApp: a thin relay between Flower and the site's trainer service.

It holds no path to records, policy, ledger or key, and needs none: it hands the task on as it
came and the answer back as it is. Where it runs as another user than the service, what code in
this process can do to a site is what the service's two methods allow.
"""

import logging
from collections.abc import Callable, Mapping

from flwr.app import Context, Message, RecordDict
from flwr.clientapp import ClientApp

from fedloom.client.answering import CANNOT_ANSWER, CANNOT_TRAIN, SiteAnswers, refusal
from fedloom.client.rpc.remote import connect
from fedloom.shared.errors import FedLoomError
from fedloom.shared.wire.envelope import Envelope
from fedloom.shared.wire.flower import from_records, to_records

logger = logging.getLogger("fedloom.relay")

NodeConfig = Mapping[str, bool | float | int | str]
Connect = Callable[[NodeConfig], SiteAnswers]


def make_client_app(connect: Connect) -> ClientApp:
    """A ClientApp that hands each message to the site that `connect` finds by its node's config."""
    client = ClientApp()

    @client.train()
    def train(message: Message, context: Context) -> Message:
        answer = _relayed(lambda site: _trained(site, message), context, otherwise=CANNOT_TRAIN)
        return Message(answer, reply_to=message)

    @client.query("hello")
    def hello(message: Message, context: Context) -> Message:
        answer = _relayed(lambda site: _greeted(site, message), context, otherwise=CANNOT_ANSWER)
        return Message(answer, reply_to=message)

    def _relayed(
        ask: Callable[[SiteAnswers], Envelope], context: Context, *, otherwise: str
    ) -> RecordDict:
        try:
            return to_records(ask(connect(context.node_config)))
        except FedLoomError as error:
            logger.error("%s", error)
        # Flower would send the text of whatever gets past here to the server.
        except Exception as error:
            logger.error("unexpected %s", type(error).__name__, exc_info=error)
        return to_records(refusal("unknown", otherwise))

    return client


def _greeted(site: SiteAnswers, message: Message) -> Envelope:
    return site.hello(from_records(message.content))


def _trained(site: SiteAnswers, message: Message) -> Envelope:
    return site.train(from_records(message.content), _log_stage)


def _log_stage(stage: str) -> None:
    logger.info("the site's trainer: %s", stage)


app = make_client_app(connect)
