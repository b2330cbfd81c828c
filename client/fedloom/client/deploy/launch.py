"""`python -m fedloom.client.deploy.launch supernode|superexec ...`: Flower's node, made quick."""

import sys
from collections.abc import Callable, Mapping
from types import MappingProxyType

from fedloom.shared.flower_process import (
    RETRY_SECONDS,
    hide_task_tokens,
    shorten_pauses,
    try_again_within,
)
from fedloom.shared.json_log import log_as_json

# Flower's node sleeps for 3 s between looks for a task, each a request to the server, and for half
# a second between looks for an answer, which ask nobody: every round waits for both.
PAUSES: Mapping[float, float] = MappingProxyType({3: 0.5, 0.5: 0.1})
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

    hide_task_tokens()
    try_again_within(RETRY_SECONDS)
    flower_superexec()


_WHAT: Mapping[str, Callable[[], None]] = MappingProxyType(
    {"supernode": supernode, "superexec": superexec}
)

if __name__ == "__main__":
    _WHAT[sys.argv.pop(1)]()
