"""Which node serves which site of the plan."""

from collections.abc import Mapping

from flwr.app import Message, RecordDict
from flwr.serverapp import Grid

from fedloom.server.exchange import replies
from fedloom.shared.errors import WireError
from fedloom.shared.wire.flower import from_records
from fedloom.shared.wire.messages import HELLO_QUERY, HelloHeader


def discover_sites(grid: Grid, *, deadline_seconds: float) -> Mapping[str, int]:
    """Ask every node for its site's name; node ids by name.

    A name that two nodes claim belongs to neither: a second site under one name must not
    silently replace the first. Nodes that do not answer are left out.
    """
    nodes = {str(node): node for node in grid.get_node_ids()}
    questions = {
        key: Message(RecordDict(), dst_node_id=node, message_type=HELLO_QUERY)
        for key, node in nodes.items()
    }
    claims: dict[str, list[int]] = {}
    for reply in replies(grid, questions, deadline_seconds=deadline_seconds):
        name = _name_in(reply.message)
        if name is not None:
            claims.setdefault(name, []).append(nodes[reply.site])
    return {name: ids[0] for name, ids in claims.items() if len(ids) == 1}


def _name_in(message: Message | None) -> str | None:
    if message is None or message.has_error():
        return None
    try:
        return HelloHeader.parse(from_records(message.content).header).site
    except WireError:
        return None
