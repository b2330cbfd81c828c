"""`python -m fedloom.client.deploy.launch supernode|superexec|flwr-clientapp ...`, made quick."""

import sys
from collections.abc import Callable, Mapping
from types import MappingProxyType, ModuleType

from fedloom.shared.flower_process import (
    RETRY_SECONDS,
    flower_home,
    hide_task_tokens,
    shorten_pauses,
    try_again_within,
)
from fedloom.shared.logs import log_as_json
from fedloom.shared.supervising import own_module

# Flower's node sleeps for 3 s between looks for a task, each a request to the server, and for half
# a second between looks for an answer, which ask nobody: every round waits for both.
PAUSES: Mapping[float, float] = MappingProxyType({3: 0.5, 0.5: 0.1})
_RELAY = "flwr-clientapp"
_KEY = "--auth-supernode-private-key"
NODE_LOOP = "flwr.supernode.start_client_internal"


def supernode() -> None:
    """Flower's node: takes messages from the coordinator's server, and answers them."""
    from flwr.supernode.cli import flower_supernode

    from fedloom.client.deploy.codeless import require_codeless
    from fedloom.client.deploy.dead_relays import answer_for_dead_relays
    from fedloom.client.deploy.returning import folder_of, hold_node, remember_number, take_over

    link = folder_of(sys.argv[sys.argv.index(_KEY) + 1])
    log_as_json()
    hold_node(link)
    take_over(link)
    remember_number(link)
    require_codeless(NODE_LOOP)
    answer_for_dead_relays()
    shorten_pauses(PAUSES, NODE_LOOP)
    try_again_within(RETRY_SECONDS)
    flower_supernode()


def superexec() -> None:
    """What starts a relay for each message."""
    from flwr.supercore.cli import flower_superexec

    relays = {_RELAY: [*own_module("fedloom.client.deploy.launch"), _RELAY]}
    hide_task_tokens(flower_home() / "tasks", relays)
    try_again_within(RETRY_SECONDS)
    flower_superexec()


def relay() -> None:
    """Flower's process for one message.

    Flower's own command loads the node and its database as well: two fifths of its start.
    """
    node = ModuleType("flwr.supernode.cli.flower_supernode")
    node.__dict__["flower_supernode"] = None
    sys.modules[node.__name__] = node
    from flwr.supernode.cli import flwr_clientapp

    flwr_clientapp()


_WHAT: Mapping[str, Callable[[], None]] = MappingProxyType(
    {"supernode": supernode, "superexec": superexec, _RELAY: relay}
)

if __name__ == "__main__":
    _WHAT[sys.argv.pop(1)]()
