"""Where the plan's sites are, from round to round: who comes late or comes back is found."""

import time
from collections.abc import Callable, Mapping

from flwr.serverapp import Grid

from fedloom.server.discovery import Denied, FoundSite, discover_sites, log_denied
from fedloom.server.parties import Parties
from fedloom.shared.plan import Plan

Found = Callable[[Mapping[str, FoundSite]], None]
"""Told of sites that were not there before."""

# Nodes may still be loading their libraries when they are asked who they are.
FIRST_SECONDS = 180.0
# A late comer must not hold up a round of those who are there.
LATER_SECONDS = 20.0
_POLL_SECONDS = 1.0


class Roster:
    """The nodes of a plan's sites.

    `asks_again` says whether a site whose node went in a round is asked once more when it is back.
    A node that is gone loses its place until it is back; a site is looked for again in each
    round that lacks it, among the nodes that serve no other.
    """

    def __init__(
        self,
        plan: Plan,
        parties: Parties,
        found: Found,
        denied: Denied = log_denied,
        *,
        asks_again: bool = False,
    ) -> None:
        self.asks_again = asks_again
        self._names = frozenset(site.name for site in plan.sites)
        self._parties = parties
        self._found = found
        self._denied = denied
        self._nodes: dict[str, int] = {}
        # Where sites were last, whether they are there or not.
        self._last: dict[str, int] = {}
        self._just_left: frozenset[str] = frozenset()

    @property
    def nodes(self) -> Mapping[str, int]:
        """Nodes by site, as of the last look."""
        return self._nodes

    @property
    def just_left(self) -> frozenset[str]:
        """Sites that were there before the last look, and not at it."""
        return self._just_left

    def last_node(self, site: str) -> int:
        """The node that a site has, or had."""
        return self._last[site]

    def gather(self, grid: Grid, *, patience_seconds: float) -> None:
        """The first look; waits until there are as many nodes as sites, for so long at most."""
        end = time.monotonic() + patience_seconds
        while len(list(grid.get_node_ids())) < len(self._names) and time.monotonic() < end:
            time.sleep(_POLL_SECONDS)
        self._look(grid, FIRST_SECONDS)

    def look_again(self, grid: Grid) -> None:
        """Forget who is gone, and look for who is missing."""
        self._look(grid, LATER_SECONDS)

    def is_there(self, grid: Grid, site: str) -> bool:
        """Whether the node that a site had last is connected just now."""
        return self._last.get(site) in set(grid.get_node_ids())

    def _look(self, grid: Grid, seconds: float) -> None:
        there = frozenset(grid.get_node_ids())
        before = self._nodes
        self._nodes = {name: node for name, node in before.items() if node in there}
        self._just_left = frozenset(before.keys() - self._nodes.keys())
        unknown = there - set(self._nodes.values())
        if self._names <= self._nodes.keys() or not unknown:
            return
        answers = discover_sites(
            grid, unknown, self._parties, self._denied, deadline_seconds=seconds
        )
        new = {name: at for name, at in answers.items() if name in self._names - set(self._nodes)}
        self._nodes |= {name: at.node for name, at in new.items()}
        self._last |= self._nodes
        self._just_left -= new.keys()
        if new:
            self._found(new)
