"""What a steward sees of a site at a glance."""

from collections.abc import Iterator
from pathlib import Path

from fedloom.client.rpc.address import read_address
from fedloom.client.rpc.remote import RemoteSite
from fedloom.client.site.budget import budget_of
from fedloom.client.site.config import SiteConfig
from fedloom.client.site.opening import approvals_of, ledger_of
from fedloom.client.site.steward import Steward
from fedloom.shared.errors import ConfigError, WireError
from fedloom.shared.printable import printable
from fedloom.shared.wire.envelope import Envelope
from fedloom.shared.wire.messages import HelloHeader, HelloQuestion


def status_lines(settings: Path) -> Iterator[str]:
    """Budget, ledger, plans that wait, and whether the service answers; one line each.

    Raises:
        ConfigError: settings or policy cannot be read.
        LedgerError: the ledger is not whole.
    """
    steward = Steward.of(settings)
    config = steward.config
    ledger = ledger_of(config)
    chain = ledger.chain()
    yield f"site      {config.name}"
    yield f"budget    {budget_of(config, steward.policy, ledger.spent()).described}"
    yield f"ledger    {chain.length} entries, head {chain.head.digest}"
    yield f"key       {chain.opening.public_key}"
    yield f"approval  {steward.policy.approval.mode}"
    yield f"service   {_answering(config)}"
    for plan in approvals_of(config).waiting():
        yield printable(f"waiting   {plan.sha256}  {plan.name}, {plan.rounds.total} rounds")


def _answering(config: SiteConfig) -> str:
    service = config.service
    try:
        address = read_address(service.address, service.tls, side="relay")
        if address.socket is not None and not address.socket.exists():
            return f"does not listen on {service.address}"
        question = Envelope(frame=HelloQuestion.fresh().frame())
        hello = HelloHeader.parse(RemoteSite(address).hello(question).frame.header)
    except ConfigError as error:
        return error.problems[0]
    except WireError:
        return f"does not answer on {service.address}"
    return f"answers as {hello.site} on {service.address}"
