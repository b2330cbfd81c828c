"""Which node serves which site of the plan, and what that site says is left of its budget."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from flwr.app import Message
from flwr.common.constant import ErrorCode
from flwr.serverapp import Grid

from fedloom.server.asked import Reply
from fedloom.server.exchange import replies
from fedloom.server.intake import BUNDLE_REFUSED, MALFORMED
from fedloom.server.parties import Parties
from fedloom.shared.errors import UpdateRejected, WireError
from fedloom.shared.wire.envelope import Envelope
from fedloom.shared.wire.flower import from_records, to_records
from fedloom.shared.wire.messages import HELLO_QUERY, DeclaredBudget, HelloHeader, HelloQuestion
from fedloom.shared.wire.signed import asked_digest

logger = logging.getLogger("fedloom.server")

Denied = Callable[[int, str], None]
"""Told which node is not believed, and why."""


def log_denied(node: int, why: str) -> None:
    """For who has no better place to write it down."""
    logger.warning("node %d %s", node, why)


@dataclass(frozen=True, kw_only=True)
class FoundSite:
    """Where a site is reached, and what it declares; no budget while its ledger cannot say."""

    node: int
    budget: DeclaredBudget | None


def discover_sites(
    grid: Grid,
    nodes: frozenset[int],
    parties: Parties,
    denied: Denied,
    *,
    deadline_seconds: float,
) -> Mapping[str, FoundSite]:
    """Ask each of `nodes` who it is; sites by name.

    Guarantee: a site's name is believed only with an answer that is the site's own, given to
    this question. A name that two nodes claim belongs to neither: a second site under one name
    must not silently replace the first. Nodes that do not answer are left out, those that went
    and came back meanwhile are asked again, and `denied` is told of those that refuse the bundle
    or are not who they say.
    """
    by_key = {str(node): node for node in sorted(nodes)}
    questions = {key: _question(parties, deadline_seconds) for key in by_key}

    def ask(key: str) -> Message:
        asked = to_records(questions[key])
        return Message(asked, dst_node_id=by_key[key], message_type=HELLO_QUERY)

    def again(key: str, _: float) -> Message | None:
        return ask(key) if by_key[key] in set(grid.get_node_ids()) else None

    messages = {key: ask(key) for key in by_key}
    claims: dict[str, list[FoundSite]] = {}
    for reply in replies(grid, messages, deadline_seconds=deadline_seconds, again=again):
        node, asked = by_key[reply.site], asked_digest(questions[reply.site])
        try:
            hello = _hello_in(reply, parties, asked)
        except UpdateRejected as error:
            denied(node, str(error))
            continue
        if hello is not None:
            claims.setdefault(hello.site, []).append(FoundSite(node=node, budget=hello.budget))
    return {name: found[0] for name, found in claims.items() if len(found) == 1}


def _question(parties: Parties, seconds: float) -> Envelope:
    return parties.asked(Envelope(frame=HelloQuestion.fresh().frame()), seconds=seconds)


def _hello_in(reply: Reply, parties: Parties, asked: str) -> HelloHeader | None:
    if reply.malformed:
        raise UpdateRejected(MALFORMED)
    message = reply.message
    if message is None:
        return None
    if message.has_error():
        if message.error.code == ErrorCode.INVALID_FAB:
            raise UpdateRejected(BUNDLE_REFUSED)
        return None
    try:
        answer = from_records(message.content)
        hello = HelloHeader.parse(answer.frame.header)
    except WireError:
        return None
    if not parties.is_from(hello.site, answer, asked):
        raise UpdateRejected(f"says that it is site {hello.site}, without its signature")
    return hello
