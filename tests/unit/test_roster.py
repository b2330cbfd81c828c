"""Sites that come late, go, come back, or are played by somebody else."""

import logging
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from flwr.app import Message

from fedloom.server.discovery import FoundSite
from fedloom.server.parties import Parties, SignedParties, TrustedParties
from fedloom.server.roster import Roster
from fedloom.shared.keys import SigningKey
from fedloom.shared.plan import Plan
from fedloom.shared.wire.envelope import Envelope
from fedloom.shared.wire.flower import from_records, to_records
from fedloom.shared.wire.messages import HelloHeader
from fedloom.shared.wire.signed import asked_digest, sign_answer
from tests.support.training import make_plan, site_plan
from tests.unit.test_exchange import ScriptedGrid

Script = dict[int, tuple[float, Callable[[Message], Message]] | None]


def says(site: str, key: SigningKey | None = None) -> tuple[float, Callable[[Message], Message]]:
    def answer(message: Message) -> Message:
        said = Envelope(frame=HelloHeader(site=site, budget=None).frame())
        if key is not None:
            said = sign_answer(said, asked_digest(from_records(message.content)), key)
        return Message(to_records(said), reply_to=message)

    return 0.0, answer


@pytest.fixture
def plan(tiny_model: Path) -> Plan:
    north = site_plan()
    south = north.model_copy(update={"name": "south"})
    return make_plan(tiny_model).model_copy(update={"sites": (north, south)})


class Watched(Roster):
    def __init__(self, plan: Plan, parties: Parties) -> None:
        self.seen: list[set[str]] = []
        super().__init__(plan, parties, self._note)

    def _note(self, sites: Mapping[str, FoundSite]) -> None:
        self.seen.append(set(sites))


def test_who_comes_late_is_found_in_the_next_round(plan: Plan) -> None:
    roster, script = Watched(plan, TrustedParties()), Script({5: says("north")})
    roster.gather(ScriptedGrid(script), patience_seconds=0)
    assert roster.nodes == {"north": 5}
    roster.look_again(ScriptedGrid(script | {6: says("south")}))
    assert roster.nodes == {"north": 5, "south": 6}
    assert roster.seen == [{"north"}, {"south"}]


def test_who_has_gone_loses_its_place_until_it_is_back(plan: Plan) -> None:
    """A message to a node that is gone would cost the round its whole deadline."""
    script = Script({5: says("north"), 6: says("south")})
    roster = Watched(plan, TrustedParties())
    roster.gather(ScriptedGrid(script), patience_seconds=0)
    roster.look_again(ScriptedGrid({5: script[5]}))
    assert roster.nodes == {"north": 5}
    assert (roster.just_left, roster.last_node("south")) == ({"south"}, 6)
    roster.look_again(ScriptedGrid({5: script[5]}))
    assert roster.just_left == frozenset()
    roster.look_again(ScriptedGrid({5: script[5], 9: says("south")}))
    assert roster.nodes == {"north": 5, "south": 9}


def test_those_who_are_there_are_not_asked_again(plan: Plan) -> None:
    asked: list[int] = []

    def counting(message: Message) -> Message:
        asked.append(message.metadata.dst_node_id)
        return says("north")[1](message)

    script = Script({5: (0.0, counting), 6: says("south")})
    roster = Watched(plan, TrustedParties())
    roster.gather(ScriptedGrid(script), patience_seconds=0)
    roster.look_again(ScriptedGrid(script))
    assert asked == [5]


def test_strangers_to_the_plan_are_no_sites(plan: Plan) -> None:
    roster = Watched(plan, TrustedParties())
    roster.gather(ScriptedGrid({5: says("north"), 7: says("west")}), patience_seconds=0)
    assert roster.nodes == {"north": 5}


def test_a_name_is_believed_only_with_its_sites_signature(
    plan: Plan, caplog: pytest.LogCaptureFixture
) -> None:
    """Another site's node may be registered, and say that it is north."""
    north, south, west = (SigningKey.generate() for _ in range(3))
    keys = {"north": north.public, "south": south.public}
    parties = SignedParties(SigningKey.generate(), keys)
    script = Script(
        {
            4: says("north"),
            5: says("north", south),
            6: says("south", south),
            7: says("west", west),
            8: says("north", north),
        }
    )
    roster = Watched(plan, parties)
    with caplog.at_level(logging.WARNING, logger="fedloom.server"):
        roster.gather(ScriptedGrid(script), patience_seconds=0)
    assert roster.nodes == {"north": 8, "south": 6}
    assert sum("without its signature" in line for line in caplog.messages) == 3


def test_the_first_look_waits_for_nodes_but_not_for_ever(
    plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fedloom.server.roster._POLL_SECONDS", 0.01)
    looks: list[int] = []

    class Filling(ScriptedGrid):
        def get_node_ids(self) -> list[int]:
            looks.append(1)
            return [5, 6][: len(looks) // 2]

    grid = Filling(Script({5: says("north"), 6: says("south")}))
    roster = Watched(plan, TrustedParties())
    roster.gather(grid, patience_seconds=30)
    assert set(roster.nodes) == {"north", "south"}
    Watched(plan, TrustedParties()).gather(ScriptedGrid({}), patience_seconds=0.05)
