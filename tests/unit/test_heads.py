"""Heads of ledgers: an older or other copy is found out on both sides."""

import shutil
from pathlib import Path

import pytest
from flwr.app import ConfigRecord

from fedloom.client.ledger.entries import charge_of
from fedloom.client.ledger.ledger import Ledger
from fedloom.server.run.heads import HeadBook, read_heads
from fedloom.shared.errors import CheckpointError, SiteRefusal, UpdateRejected, WireError
from fedloom.shared.wire.envelope import Envelope
from fedloom.shared.wire.flower import HEAD, from_records, to_records
from fedloom.shared.wire.frame import Frame
from fedloom.shared.wire.heads import LedgerHead
from tests.support.ledgers import begun
from tests.support.plans import a_task


def charge(ledger: Ledger, number: int) -> LedgerHead:
    ledger.reserve(charge_of(a_task(round_number=number)))
    return ledger.head()


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return begun(tmp_path / "north")


@pytest.fixture
def book(tmp_path: Path) -> HeadBook:
    return HeadBook(tmp_path / "heads.json")


def test_heads_are_remembered_over_processes(
    ledger: Ledger, book: HeadBook, tmp_path: Path
) -> None:
    heads = [charge(ledger, number) for number in (1, 2)]
    for head in (heads[0], heads[1], heads[1]):
        book.remember("north", head)
    again = HeadBook(tmp_path / "heads.json")
    assert again.of("north") == heads[1]
    assert again.of("south") is None
    assert read_heads(tmp_path / "heads.json") == {"north": heads[1]}
    with pytest.raises(UpdateRejected, match="older than it was"):
        again.remember("north", heads[0])


def test_an_older_head_cannot_pass_for_a_newer_one(ledger: Ledger, book: HeadBook) -> None:
    """Else the honest head that comes next would be refused."""
    head = charge(ledger, 1)
    with pytest.raises(UpdateRejected, match="not signed"):
        book.remember("north", head.model_copy(update={"number": 50}))
    book.remember("north", charge(ledger, 2))


def test_a_ledger_that_went_another_way_is_refused_by_both(
    ledger: Ledger, book: HeadBook, tmp_path: Path
) -> None:
    """Two copies of one ledger, each charged on: as many entries, not the same."""
    charge(ledger, 1)
    shutil.copytree(tmp_path / "north", tmp_path / "copy")
    other = Ledger(tmp_path / "copy")
    here, there = charge(ledger, 2), charge(other, 3)
    book.remember("north", here)
    with pytest.raises(UpdateRejected, match="older than it was"):
        book.remember("north", there)
    with pytest.raises(SiteRefusal) as caught:
        other.check_remembered(here)
    assert caught.value.rule == "ledger-behind"
    ledger.check_remembered(here)


def test_an_older_copy_refuses_and_the_newest_goes_on(ledger: Ledger, tmp_path: Path) -> None:
    first = charge(ledger, 1)
    shutil.copytree(tmp_path / "north", tmp_path / "copy")
    second = charge(ledger, 2)
    ledger.check_remembered(first)
    ledger.check_remembered(second)
    older = Ledger(tmp_path / "copy")
    older.check_remembered(first)
    with pytest.raises(SiteRefusal, match="asked entry 3, allowed this copy has 2"):
        older.check_remembered(second)


def test_a_lost_ledger_begun_anew_is_refused_by_both(
    ledger: Ledger, book: HeadBook, tmp_path: Path
) -> None:
    """A site that deletes its state must not have a whole budget again."""
    before = charge(ledger, 1)
    book.remember("north", before)
    shutil.rmtree(tmp_path / "north")
    anew = begun(tmp_path / "north")
    with pytest.raises(SiteRefusal) as caught:
        anew.check_remembered(before)
    assert caught.value.rule == "ledger-head"
    with pytest.raises(UpdateRejected, match="another key"):
        book.remember("north", charge(anew, 1))


def test_a_head_that_nobody_signed_is_refused_by_both(ledger: Ledger, book: HeadBook) -> None:
    true = charge(ledger, 1)
    for forged in ({"number": 7}, {"digest": "1" * 64}):
        false = true.model_copy(update=forged)
        with pytest.raises(UpdateRejected, match="not signed"):
            book.remember("north", false)
        with pytest.raises(SiteRefusal) as caught:
            ledger.check_remembered(false)
        assert caught.value.rule == "ledger-head"


def test_a_damaged_book_is_one_clear_error(tmp_path: Path) -> None:
    path = tmp_path / "heads.json"
    for content in (b"{", b"[]", b'{"north": 1}', b'{"north": "{}"}'):
        path.write_bytes(content)
        with pytest.raises(CheckpointError, match="heads of the sites' ledgers"):
            HeadBook(path)


def test_a_head_travels_beside_a_frame(ledger: Ledger) -> None:
    with_head = Envelope(frame=Frame(header="{}"), head=charge(ledger, 1))
    without = Envelope(frame=Frame(header="{}"))
    assert from_records(to_records(with_head)) == with_head
    assert from_records(to_records(without)) == without
    records = to_records(without)
    records[HEAD] = ConfigRecord({"json": '{"number": 0}'})
    with pytest.raises(WireError, match="LedgerHead"):
        from_records(records)


def test_a_head_outlasts_its_run_until_a_person_forgets_it(
    ledger: Ledger, book: HeadBook, tmp_path: Path
) -> None:
    """Else a site whose ledger was lost could never train for this coordinator again."""
    book.remember("north", charge(ledger, 1))
    other = charge(begun(tmp_path / "anew" / "north"), 1)
    later = HeadBook(tmp_path / "heads.json")
    with pytest.raises(UpdateRejected, match="another key"):
        later.remember("north", other)
    later.forget("north")
    later.forget("nobody")
    HeadBook(tmp_path / "heads.json").remember("north", other)
    assert HeadBook(tmp_path / "heads.json").of("north") == other
