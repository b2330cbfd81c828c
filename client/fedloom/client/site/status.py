"""What a steward sees of a site at a glance."""

import socket
from collections.abc import Iterator
from pathlib import Path

from fedloom.client.rpc.address import UNIX, host_and_port, read_address
from fedloom.client.site.budget import budget_of
from fedloom.client.site.config import SiteConfig
from fedloom.client.site.locks import SERVING_LOCK
from fedloom.client.site.opening import approvals_of, ledger_of
from fedloom.client.site.steward import Steward
from fedloom.shared.errors import ConfigError
from fedloom.shared.health import is_healthy
from fedloom.shared.locks import is_locked
from fedloom.shared.printable import printable
from fedloom.shared.words import count

_SECONDS = 5.0


def status_lines(settings: Path) -> Iterator[str]:
    """Budget, ledger, whether the service answers, and plans; one line each.

    Raises:
        ConfigError: settings or policy cannot be read.
        LedgerError: the ledger is not whole.
        PlanError: a plan that waits is damaged.
    """
    steward = Steward.of(settings)
    config = steward.config
    ledger = ledger_of(config)
    chain = ledger.chain()
    yield f"site      {config.name}"
    yield f"budget    {budget_of(config, steward.policy, ledger.spent()).described}"
    yield f"ledger    {count(chain.length, 'entry', 'entries')}, head {chain.head.digest}"
    yield f"key       ledger key {chain.opening.public_key}"
    yield f"approval  {steward.policy.approval.mode}"
    yield f"service   {_serving(config)}"
    yield from _plans(config, chain.opening.public_key)


def _plans(config: SiteConfig, public_key: str) -> Iterator[str]:
    approvals = approvals_of(config)
    for plan in approvals.waiting():
        rounds = count(plan.rounds.total, "round")
        yield printable(f"waiting   {plan.sha256}  {plan.name}, {rounds}")
    for approval in approvals.approved(public_key):
        if isinstance(approval, str):
            yield f"problem   {approval}"
        else:
            yield f"approved  {approval.plan}  at {approval.at}"


def _serving(config: SiteConfig) -> str:
    """Whether the service answers; on a port, whether it listens.

    Only the relay has a certificate to ask there with, and its folder is its own user's.
    """
    address = config.service.address
    try:
        return _answering(address) if address.startswith(UNIX) else _listening(config)
    except ConfigError as error:
        return error.problems[0]


def _answering(address: str) -> str:
    found = read_address(address, None, side="relay")
    if found.socket is not None and not found.socket.exists():
        return f"does not listen on {address}"
    # It tells its budget to its coordinator alone.
    return f"{'answers' if is_healthy(found.target) else 'does not answer'} on {address}"


def _listening(config: SiteConfig) -> str:
    address = config.service.address
    runs = is_locked(config.state / SERVING_LOCK)
    running = "runs" if runs else "does not run"
    try:
        with socket.create_connection(host_and_port(address), timeout=_SECONDS):
            pass
    except OSError:
        return f"{running}, and nothing listens on {address}"
    return f"{running}, and {'it' if runs else 'something else'} listens on {address}"
