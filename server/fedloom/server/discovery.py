"""Which node serves which site of the plan, and what that site says is left of its budget."""

from collections.abc import Mapping
from dataclasses import dataclass

from flwr.app import Message, RecordDict
from flwr.serverapp import Grid

from fedloom.server.exchange import replies
from fedloom.shared.errors import WireError
from fedloom.shared.wire.flower import from_records
from fedloom.shared.wire.messages import HELLO_QUERY, DeclaredBudget, HelloHeader


@dataclass(frozen=True, kw_only=True)
class FoundSite:
    """Where a site is reached, and what it declares; no budget while its ledger cannot say."""

    node: int
    budget: DeclaredBudget | None


def discover_sites(grid: Grid, *, deadline_seconds: float) -> Mapping[str, FoundSite]:
    """Ask every node who it is; sites by name.

    A name that two nodes claim belongs to neither: a second site under one name must not
    silently replace the first. Nodes that do not answer are left out.
    """
    nodes = {str(node): node for node in grid.get_node_ids()}
    questions = {
        key: Message(RecordDict(), dst_node_id=node, message_type=HELLO_QUERY)
        for key, node in nodes.items()
    }
    claims: dict[str, list[FoundSite]] = {}
    for reply in replies(grid, questions, deadline_seconds=deadline_seconds):
        hello = _hello_in(reply.message)
        if hello is not None:
            found = FoundSite(node=nodes[reply.site], budget=hello.budget)
            claims.setdefault(hello.site, []).append(found)
    return {name: found[0] for name, found in claims.items() if len(found) == 1}


def _hello_in(message: Message | None) -> HelloHeader | None:
    if message is None or message.has_error():
        return None
    try:
        return HelloHeader.parse(from_records(message.content).frame.header)
    except WireError:
        return None
