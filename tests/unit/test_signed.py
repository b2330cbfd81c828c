"""Signatures from end to end: what is altered, made up, or given for another is found out."""

import re
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedloom.client.ledger.ledger import Ledger
from fedloom.client.rpc.messages import from_hello, from_task, to_hello, to_task
from fedloom.client.rpc.site_pb2 import Task
from fedloom.client.site.config import CoordinatorSettings, SiteConfig
from fedloom.client.site.desk import SiteDesk
from fedloom.client.site.directory import SiteDirectory
from fedloom.client.site.link import LINK_KEY
from fedloom.server.parties import Parties, SignedParties, TrustedParties
from fedloom.shared.errors import WireError
from fedloom.shared.keys import SigningKey
from fedloom.shared.plan import Plan
from fedloom.shared.signing import _verified
from fedloom.shared.wire.envelope import Envelope
from fedloom.shared.wire.flower import from_records, to_records
from fedloom.shared.wire.frame import Frame
from fedloom.shared.wire.heads import LedgerHead
from fedloom.shared.wire.messages import HelloQuestion, RefusalHeader, TrainTask
from fedloom.shared.wire.signed import (
    answered_digest,
    asked_digest,
    is_answered_by,
    is_asked_by,
    sign_answer,
    sign_asked,
)
from tests.support.served import a_question
from tests.support.sites import a_policy, a_site, write_settings
from tests.support.training import make_plan, site_plan

KEY, OTHER = SigningKey.generate(), SigningKey.generate()
HEAD = LedgerHead(public_key="ab" * 32, number=3, digest="cd" * 32, signature="ef" * 64)
ASKED = Envelope(frame=Frame(header="{}", payload=b"1234"), head=HEAD)
QUESTION = asked_digest(ASKED)

envelopes = st.builds(
    Envelope,
    frame=st.builds(Frame, header=st.text(max_size=8), payload=st.binary(max_size=8)),
    head=st.sampled_from([None, HEAD, HEAD.model_copy(update={"number": 4})]),
)


@given(one=envelopes, other=envelopes)
def test_a_signature_is_for_what_was_signed_alone(one: Envelope, other: Envelope) -> None:
    signed = sign_asked(one, KEY, seconds=60)
    assert is_asked_by(signed, KEY.public)
    assert not is_asked_by(signed, OTHER.public)
    moved = replace(other, signature=signed.signature, stamp=signed.stamp)
    assert is_asked_by(moved, KEY.public) == (one == other)
    later = sign_asked(one, KEY, seconds=60)
    assert not is_asked_by(replace(signed, stamp=later.stamp), KEY.public)
    assert not is_asked_by(replace(signed, stamp=None), KEY.public)


@given(one=envelopes, other=envelopes)
def test_an_answer_is_for_one_question_alone(one: Envelope, other: Envelope) -> None:
    answer = sign_answer(ASKED, asked_digest(one), KEY)
    assert is_answered_by(answer, asked_digest(one), KEY.public)
    assert is_answered_by(answer, asked_digest(other), KEY.public) == (one == other)


def test_a_question_is_no_answer() -> None:
    """Else what a coordinator signed could be played back to it as a site's word."""
    assert asked_digest(ASKED) != answered_digest(ASKED, QUESTION)
    assert not is_answered_by(sign_asked(ASKED, KEY, seconds=60), QUESTION, KEY.public)


@pytest.mark.parametrize("signature", [None, "", "00" * 64, "zz", "é" * 128, "ab" * 63])
def test_what_is_no_signature_is_refused_and_raises_nothing(signature: str | None) -> None:
    assert not is_asked_by(replace(ASKED, signature=signature), KEY.public)
    assert not is_answered_by(replace(ASKED, signature=signature), QUESTION, KEY.public)


def test_a_site_without_a_key_here_never_counts() -> None:
    parties = SignedParties(KEY, {"north": OTHER.public})
    answer = sign_answer(ASKED, QUESTION, OTHER)
    assert parties.is_from("north", answer, QUESTION)
    assert not parties.is_from("south", answer, QUESTION)
    assert not parties.is_from("", answer, QUESTION)


def test_trusted_parties_take_everything() -> None:
    """The control of the test above, and what a simulation relies on."""
    parties: Parties = TrustedParties()
    assert parties.asked(ASKED, seconds=60) is ASKED
    assert parties.is_from("north", ASKED, "")


class Linked:
    """A site that has joined, and the coordinator that it has joined."""

    def __init__(self, home: Path, model: Path) -> None:
        coordinator = CoordinatorSettings(public_key=KEY.public)
        self.config: SiteConfig = a_site(home, model=model, rows=60, coordinator=coordinator)
        OTHER.keep(self.config.state / LINK_KEY)
        self.settings = write_settings(self.config, a_policy(min_units=10, seeded_noise=True))
        self.desk = SiteDesk(self.settings, SiteDirectory())
        site = site_plan(noise=2.0, rate=1 / 3, units=60)
        self.plan: Plan = make_plan(model, batch=20, site=site)
        self.parties = SignedParties(KEY, {"north": OTHER.public})

    def task(self) -> Envelope:
        from fedloom.client.training.trainer import Trainer

        start = Trainer(self.plan, self.config.model).start
        task = TrainTask(plan=self.plan, site="north", round=1, adapter=start)
        return Envelope(frame=task.pack())


@pytest.fixture
def linked(tmp_path: Path, tiny_model: Path) -> Linked:
    return Linked(tmp_path, tiny_model)


@pytest.mark.parametrize(
    "made",
    [
        lambda task: task,
        lambda task: sign_asked(task, OTHER, seconds=60),
        lambda task: replace(sign_asked(task, KEY, seconds=60), head=HEAD),
        lambda task: _for_round(sign_asked(task, KEY, seconds=60), 2),
    ],
    ids=["unsigned", "signed by the site itself", "another head", "another round"],
)
def test_a_site_trains_only_on_what_its_coordinator_signed(
    linked: Linked, made: Callable[[Envelope], Envelope]
) -> None:
    answer = linked.desk.train(made(linked.task()))
    assert RefusalHeader.parse(answer.frame.header).rule == "coordinator-signature"
    assert answer.signature is None, "else a relay could pass it off as the answer to another"
    assert not Ledger(linked.config.state).entries()


def test_an_update_is_signed_for_its_task_and_no_other(linked: Linked) -> None:
    asked = linked.parties.asked(linked.task(), seconds=60)
    answer = linked.desk.train(asked)
    assert answer.frame.payload and answer.head is not None
    assert linked.parties.is_from("north", answer, asked_digest(asked))
    again = replace(asked, head=answer.head)
    assert not linked.parties.is_from("north", answer, asked_digest(again))
    assert not linked.parties.is_from("north", replace(answer, head=HEAD), asked_digest(asked))
    louder = replace(answer, frame=replace(answer.frame, payload=b"\0" + answer.frame.payload[1:]))
    assert not linked.parties.is_from("north", louder, asked_digest(asked))


def test_a_hello_is_signed_for_its_nonce(linked: Linked) -> None:
    asked, later = (linked.parties.asked(a_question(), seconds=60) for _ in range(2))
    answer = linked.desk.hello(asked)
    assert linked.parties.is_from("north", answer, asked_digest(asked))
    assert not linked.parties.is_from("north", answer, asked_digest(later))
    assert HelloQuestion.fresh().nonce != HelloQuestion.fresh().nonce


def test_a_lost_link_key_is_told_and_nothing_is_trained(
    linked: Linked, caplog: pytest.LogCaptureFixture
) -> None:
    (linked.config.state / LINK_KEY).unlink()
    answer = linked.desk.train(linked.parties.asked(linked.task(), seconds=60))
    assert RefusalHeader.parse(answer.frame.header).rule == "cannot-train"
    assert answer.signature is None
    assert "expected a signing key" in caplog.text


def _for_round(envelope: Envelope, number: int) -> Envelope:
    header = re.sub(r'"round":1,"manifest"', f'"round":{number},"manifest"', envelope.frame.header)
    assert header != envelope.frame.header
    return replace(envelope, frame=replace(envelope.frame, header=header))


def test_refusals_stay_signed_when_the_settings_can_no_longer_be_read(linked: Linked) -> None:
    """Else a site that is being changed would look like a stranger."""
    linked.desk.hello(linked.parties.asked(a_question(), seconds=60))
    linked.settings.write_text("nonsense")
    asked = linked.parties.asked(linked.task(), seconds=60)
    answer = linked.desk.train(asked)
    assert RefusalHeader.parse(answer.frame.header).rule == "cannot-train"
    assert linked.parties.is_from("north", answer, asked_digest(asked))


def test_who_is_not_the_coordinator_is_told_nothing_of_the_budget(linked: Linked) -> None:
    answer = linked.desk.hello(a_question())
    assert RefusalHeader.parse(answer.frame.header).rule == "coordinator-signature"
    assert answer.signature is None


def test_a_refusal_is_for_one_asking_alone(linked: Linked) -> None:
    """Yesterday's "a steward must approve" is no answer to today's question."""
    policy = a_policy(min_units=10, seeded_noise=True, mode="manual")
    write_settings(linked.config, policy)
    first, second = (linked.parties.asked(linked.task(), seconds=60) for _ in range(2))
    refused = linked.desk.train(first)
    assert RefusalHeader.parse(refused.frame.header).rule == "approval"
    assert linked.parties.is_from("north", refused, asked_digest(first))
    assert not linked.parties.is_from("north", refused, asked_digest(second))


def test_an_old_task_is_trained_on_no_more(linked: Linked, monkeypatch: pytest.MonkeyPatch) -> None:
    """A task that a site missed could be brought up, and charged, long after its run."""
    asked = linked.parties.asked(linked.task(), seconds=60)
    later = time.time() + 60 + 3600
    monkeypatch.setattr("fedloom.shared.wire.stamp.time.time", lambda: later - 5)
    assert linked.desk.train(asked).frame.payload, "clocks may be an hour apart"
    monkeypatch.setattr("fedloom.shared.wire.stamp.time.time", lambda: later + 5)
    answer = linked.desk.train(asked)
    assert RefusalHeader.parse(answer.frame.header).rule == "expired"


@pytest.mark.parametrize("part", [0.3, 0.6, 0.9, 1.0])
def test_a_half_written_site_file_lets_nobody_ask(linked: Linked, part: float) -> None:
    """The coordinator stands near the file's end: cut off, everybody could ask."""
    whole = linked.settings.read_text().partition("[coordinator]")[0]
    linked.settings.write_text(whole[: int(len(whole) * part)])
    answer = linked.desk.train(linked.task())
    assert RefusalHeader.parse(answer.frame.header).rule == "cannot-train"
    assert not Ledger(linked.config.state).entries()


def test_a_peers_endless_signature_is_not_kept() -> None:
    """What was verified is remembered; a text of any length must not be."""
    before = _verified.cache_info().currsize
    for letter in "abcdef":
        assert not is_asked_by(replace(ASKED, signature=letter * 10**6), KEY.public)
    assert _verified.cache_info().currsize == before
    with pytest.raises(WireError, match="128 hex digits"):
        from_records(to_records(replace(ASKED, signature="a" * 129)))
    with pytest.raises(WireError, match="128 hex digits"):
        from_task(Task(header="{}", signature="a" * 10**6))


def test_stamps_and_signatures_go_round_both_ways() -> None:
    asked = sign_asked(replace(ASKED, frame=Frame(header="{}", payload=b"1234")), KEY, seconds=60)
    assert from_records(to_records(asked)) == asked
    assert from_task(to_task(asked)) == asked
    hello = sign_asked(a_question(), KEY, seconds=60)
    assert from_hello(to_hello(hello)) == hello
    assert from_records(to_records(hello)) == hello
