"""The Flower ClientApp: unpacks a task, hands it to the site's service, relays the answer.

What goes back to the server is the sealed update with the head of the site's ledger, or the name
of a rule. Never an exception's text, a loss or a count: those depend on records. They go to the
site's own log.
"""

import logging
from pathlib import Path

from flwr.app import Context, Message, RecordDict
from flwr.clientapp import ClientApp

from fedloom.client.site.config import SITE_SETTINGS
from fedloom.client.site.directory import SiteDirectory
from fedloom.shared.errors import FedLoomError, SiteRefusal
from fedloom.shared.wire.flower import from_records, head_in, to_records
from fedloom.shared.wire.messages import HelloHeader, RefusalHeader, TrainTask

logger = logging.getLogger("fedloom.site")


def make_client_app(directory: SiteDirectory) -> ClientApp:
    """A ClientApp over `directory`; the node's config names the site's settings file."""
    client = ClientApp()

    @client.train()
    def train(message: Message, context: Context) -> Message:
        records = _answer(directory, _settings(context), message.content)
        return Message(records, reply_to=message)

    @client.query("hello")
    def hello(message: Message, context: Context) -> Message:
        return Message(_hello(directory, _settings(context)), reply_to=message)

    return client


def _settings(context: Context) -> Path:
    return Path(str(context.node_config.get(SITE_SETTINGS, "")))


def _hello(directory: SiteDirectory, settings: Path) -> RecordDict:
    try:
        return to_records(HelloHeader(site=directory.service(settings).site).frame())
    except FedLoomError as error:
        logger.error("%s: %s", settings, error)
    # Flower would send the text of whatever gets past here to the server.
    except Exception as error:
        logger.error("%s: unexpected %s", settings, type(error).__name__, exc_info=error)
    return _refusal("unknown", "cannot-answer")


def _answer(directory: SiteDirectory, settings: Path, content: RecordDict) -> RecordDict:
    name = "unknown"
    try:
        task = TrainTask.unpack(from_records(content))
        name = task.site
        service = directory.service(settings)
        frame = service.train(task, remembered=head_in(content))
        return to_records(frame, service.head)
    except SiteRefusal as refusal:
        logger.warning("%s: %s", name, refusal)
        return _refusal(name, refusal.rule)
    except FedLoomError as error:
        logger.error("%s: %s", name, error)
        return _refusal(name, "cannot-train")
    except Exception as error:
        logger.error("%s: unexpected %s", name, type(error).__name__, exc_info=error)
        return _refusal(name, "cannot-train")


def _refusal(site: str, rule: str) -> RecordDict:
    return to_records(RefusalHeader(site=site, rule=rule).frame())


app = make_client_app(SiteDirectory())
