"""The site's ledger: durable, charged once, answered once, signed, held by one process."""

import os
import signal
import sqlite3
import stat
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from fedloom.client.ledger import store
from fedloom.client.ledger.chain import Signed, read_chain
from fedloom.client.ledger.entries import Charge, Entry, Opening, charge_of, digest_of
from fedloom.client.ledger.ledger import Ledger
from fedloom.client.ledger.writing import opening_of
from fedloom.shared.errors import CredentialError, LedgerError, SiteRefusal
from fedloom.shared.keys import SigningKey, read_key
from fedloom.shared.privacy.accounting import Mechanism, merge
from fedloom.shared.wire.frame import Frame, to_payload
from fedloom.shared.wire.messages import TrainTask
from tests.support.ledgers import begun
from tests.support.plans import STEPS, a_plan, a_site, a_task

# A payload whose raw bytes hold line ends, as any array's may.
UPDATE = Frame(header='{"a":"1\\n2"}', payload=b"\n\n{" + to_payload(np.ones(3, np.float32)))


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return begun(tmp_path / "state")


def reserve(ledger: Ledger, task: TrainTask) -> Charge:
    charge = charge_of(task)
    with ledger.held():
        ledger.reserve(charge)
    return charge


def reserve_and_seal(ledger: Ledger, task: TrainTask, frame: Frame = UPDATE) -> None:
    charge = reserve(ledger, task)
    with ledger.held():
        ledger.seal(charge, frame)


def events(ledger: Ledger) -> list[tuple[str, int]]:
    return [(entry.event, entry.charge.round) for entry in ledger.entries()]


def file_of(tmp_path: Path) -> Path:
    return tmp_path / "state" / "ledger.sqlite"


def change(tmp_path: Path, *statements: str) -> None:
    """What an administrator of the machine can do: the triggers stop accidents, not people."""
    with sqlite3.connect(file_of(tmp_path)) as connection:
        rows = connection.execute("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'")
        triggers = dict(rows.fetchall())
        for name in triggers:
            connection.execute(f"DROP TRIGGER {name}")
        for statement in (*statements, *triggers.values()):
            connection.execute(statement)
    connection.close()


def plainly(tmp_path: Path, statement: str) -> None:
    with sqlite3.connect(file_of(tmp_path)) as connection:
        connection.execute(statement)
    connection.close()


def test_a_charge_is_the_plans_mechanism_for_one_round() -> None:
    task = a_task(plan=a_plan(sites=(a_site(noise_multiplier=1.25),)), round_number=2)
    charge = charge_of(task)
    assert charge.round == 2
    assert (charge.task, charge.plan) == (task.sha256, task.plan.sha256)
    assert (charge.noise_multiplier, charge.sample_rate, charge.steps) == (1.25, 0.05, STEPS)


def test_an_empty_ledger_has_spent_nothing(ledger: Ledger) -> None:
    assert ledger.entries() == ()
    assert ledger.spent().history == ()
    assert ledger.spent().steps == 0
    assert ledger.sealed(a_task()) is None
    assert ledger.head().number == 1
    assert ledger.chain().opening.site == "north"


def test_each_task_has_a_key_of_its_own_kept_until_its_update_is_sealed(
    ledger: Ledger, tmp_path: Path
) -> None:
    charges = [reserve(ledger, a_task(round_number=number)) for number in (1, 2)]
    first, second = (ledger.draw_key(charge) for charge in charges)
    assert len(first) == len(second) == 32 and first != second
    assert Ledger(tmp_path / "state").draw_key(charges[0]) == first
    ledger.seal(charges[0], UPDATE)
    with pytest.raises(LedgerError, match="no key"):
        ledger.draw_key(charges[0])
    assert ledger.draw_key(charges[1]) == second
    # Deleted rows stay readable in a SQLite file unless they are overwritten.
    left = b"".join(path.read_bytes() for path in (tmp_path / "state").iterdir())
    assert second in left and first not in left


def test_a_sealed_update_comes_back_bit_by_bit_in_a_new_process_too(
    ledger: Ledger, tmp_path: Path
) -> None:
    reserve_and_seal(ledger, a_task())
    again = Ledger(tmp_path / "state")
    assert again.sealed(a_task()) == UPDATE
    assert events(again) == [("reserved", 1), ("released", 1)]


def test_a_reservation_counts_before_anything_is_sealed(ledger: Ledger) -> None:
    # A site that dies while training has spent, as far as anybody can know.
    reserve(ledger, a_task())
    assert ledger.spent().steps == STEPS
    assert ledger.sealed(a_task()) is None


def test_the_same_task_is_charged_once_and_keeps_its_key(ledger: Ledger) -> None:
    keys = {ledger.draw_key(reserve(ledger, a_task())) for _ in range(3)}
    assert len(keys) == 1
    assert ledger.spent().steps == STEPS
    reserve_and_seal(ledger, a_task())
    assert ledger.spent().steps == STEPS


@pytest.mark.parametrize("was_sealed", [True, False])
def test_another_start_for_a_charged_round_is_refused(ledger: Ledger, was_sealed: bool) -> None:
    # The server could otherwise average away the noise by asking from many starts.
    (reserve_and_seal if was_sealed else reserve)(ledger, a_task(seed=0))
    with pytest.raises(SiteRefusal) as caught:
        ledger.sealed(a_task(seed=1))
    assert caught.value.rule == "round-answered"


def test_another_round_or_plan_is_not_refused(ledger: Ledger) -> None:
    reserve_and_seal(ledger, a_task())
    assert ledger.sealed(a_task(round_number=2, seed=1)) is None
    assert ledger.sealed(a_task(plan=a_plan(name="next"), seed=1)) is None


def test_each_round_has_its_own_sealed_update(ledger: Ledger) -> None:
    frames = {number: Frame(header="{}", payload=bytes([number] * 4)) for number in (1, 2, 3)}
    for number, frame in frames.items():
        reserve_and_seal(ledger, a_task(round_number=number), frame)
    for number, frame in frames.items():
        assert ledger.sealed(a_task(round_number=number)) == frame


def test_a_voided_reservation_is_not_spent_and_comes_back_with_the_same_draws(
    ledger: Ledger,
) -> None:
    charge = reserve(ledger, a_task())
    before = ledger.draw_key(charge)
    # With fresh draws, a server that makes attempts fail would choose among many for nothing.
    assert ledger.void(charge.task) == charge
    assert ledger.spent().steps == 0
    assert ledger.sealed(a_task(seed=1)) is None
    with pytest.raises(LedgerError, match="no key"):
        ledger.draw_key(charge)
    assert ledger.draw_key(reserve(ledger, a_task())) == before
    assert events(ledger) == [("reserved", 1), ("voided", 1), ("reserved", 1)]
    assert ledger.spent().steps == STEPS


def test_what_was_released_or_never_reserved_is_not_voided(ledger: Ledger) -> None:
    """Catches a budget that is given back although the update has left."""
    reserve_and_seal(ledger, a_task())
    for task, found in ((a_task(), "released already"), (a_task(round_number=2), "not in it")):
        with pytest.raises(LedgerError, match=found):
            ledger.void(task.sha256)
    assert ledger.spent().steps == STEPS


def test_entries_cannot_be_changed_or_deleted_by_accident(ledger: Ledger, tmp_path: Path) -> None:
    reserve(ledger, a_task())
    again = "SELECT number, body, signature FROM entries WHERE number = 1"
    for statement in (
        "UPDATE entries SET number = 2",
        "DELETE FROM entries",
        f"INSERT OR REPLACE INTO entries {again}",
        "INSERT INTO entries VALUES (7, x'00', '')",
    ):
        connection = sqlite3.connect(file_of(tmp_path))
        with pytest.raises(sqlite3.IntegrityError, match="only appended to"):
            connection.execute(statement)
        connection.close()
    assert events(ledger) == [("reserved", 1)]


@pytest.mark.parametrize(
    ("statement", "named"),
    [
        ("UPDATE entries SET body = replace(body, '\"steps\":2', '\"steps\":1') WHERE number=2", 2),
        ("UPDATE entries SET signature = (SELECT signature FROM entries WHERE number=1)", 2),
        ("UPDATE entries SET signature = 'ff' WHERE number = 3", 3),
        ("UPDATE entries SET body = x'00ff' WHERE number = 1", 1),
        ("UPDATE entries SET body = CAST(body || ' ' AS BLOB) WHERE number = 2", 2),
        ("DELETE FROM entries WHERE number = 2", 2),
        ("DELETE FROM entries WHERE number = 1", 1),
        ("UPDATE entries SET number = -5 WHERE number = 1", 1),
        ("INSERT INTO entries SELECT 5, body, signature FROM entries WHERE number = 3", 5),
    ],
    ids=["steps", "signature", "hex", "bytes", "space", "gap", "first", "number", "twice"],
)
def test_tampering_stops_the_site_and_names_the_entry(
    ledger: Ledger, tmp_path: Path, statement: str, named: int
) -> None:
    for number in (1, 2, 3):
        reserve(ledger, a_task(round_number=number))
    change(tmp_path, statement)
    again = Ledger(tmp_path / "state")
    with pytest.raises(LedgerError, match=f"entry {named} "):
        again.entries()
    for ask in (again.spent, lambda: again.sealed(a_task()), lambda: reserve(again, a_task())):
        with pytest.raises(LedgerError):
            ask()


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE TRIGGER quiet BEFORE INSERT ON entries BEGIN SELECT RAISE(IGNORE); END",
        "DROP TRIGGER entries_stay",
        "ALTER TABLE entries ADD COLUMN more",
        "DROP TABLE sealed",
    ],
)
def test_another_schema_stops_the_site(ledger: Ledger, tmp_path: Path, statement: str) -> None:
    """A trigger that swallows charges would release rounds that nobody paid for."""
    reserve(ledger, a_task())
    plainly(tmp_path, statement)
    with pytest.raises(LedgerError, match="another schema"):
        reserve(ledger, a_task(round_number=2))


@pytest.mark.parametrize("what", ["ledger.sqlite", "site.key", "emptied"])
def test_a_lost_ledger_or_key_is_not_begun_anew(ledger: Ledger, tmp_path: Path, what: str) -> None:
    """A site that lost its memory must not have its whole budget again."""
    reserve(ledger, a_task())
    if what == "emptied":
        file_of(tmp_path).write_bytes(b"")
    else:
        (tmp_path / "state" / what).unlink()
    again = Ledger(tmp_path / "state")
    with pytest.raises(LedgerError), again.held(site="north"):
        again.spent()
    with pytest.raises(LedgerError), again.held():
        again.reserve(charge_of(a_task()))


def test_a_beginning_that_broke_off_is_begun_again(ledger: Ledger, tmp_path: Path) -> None:
    (tmp_path / "state" / "site.key").unlink()
    (tmp_path / "state" / "ledger.draft").write_bytes(b"half")
    again = begun(tmp_path / "state")
    reserve(again, a_task())
    assert events(again) == [("reserved", 1)]


def test_looking_makes_nothing(tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    with pytest.raises(CredentialError, match="no such file"):
        Ledger(tmp_path / "state").chain()
    assert not list((tmp_path / "state").iterdir())


def test_a_ledger_signed_by_another_key_is_refused(ledger: Ledger, tmp_path: Path) -> None:
    reserve(ledger, a_task())
    key = tmp_path / "state" / "site.key"
    key.unlink()
    SigningKey.generate().keep(key)
    with pytest.raises(LedgerError, match="entry 1 is not signed by the site's key"):
        Ledger(tmp_path / "state").entries()


def signed_story(*events: dict[str, object]) -> tuple[list[Signed], str]:
    """Entries that the site's own key signs, whatever they say."""
    signer = SigningKey.generate()
    kept: list[Signed] = []
    for number, fields in enumerate([{}, *events], start=1):
        part: Opening | Entry = opening_of("north", signer.public)
        if number > 1:
            common = {"number": number, "at": "2026-01-01T00:00:00Z", "previous": kept[-1].digest}
            part = Entry.model_validate(common | fields)
        body = part.canonical()
        kept.append(Signed(body=body, signature=signer.sign(digest_of(body))))
    return kept, signer.public


CHARGE, OTHER = charge_of(a_task()), charge_of(a_task(seed=1))
CHEAP = CHARGE.model_copy(update={"steps": 1})
RESERVED = {"event": "reserved", "charge": CHARGE, "draws": "1" * 64}
RELEASED = {"event": "released", "charge": CHARGE, "sealed": "2" * 64}
VOIDED = {"event": "voided", "charge": CHARGE}


@pytest.mark.parametrize(
    "events",
    [(RESERVED, RELEASED), (RESERVED, VOIDED, RESERVED, RELEASED), (RESERVED, VOIDED)],
    ids=["released", "voided first", "voided"],
)
def test_a_story_that_makes_sense_is_read(events: tuple[dict[str, object], ...]) -> None:
    kept, public = signed_story(*events)
    assert read_chain(kept, public).length == 1 + len(events)


@pytest.mark.parametrize(
    "events",
    [
        (RESERVED, RELEASED, VOIDED),
        (RESERVED, RELEASED, RELEASED),
        (RESERVED, RESERVED),
        (RESERVED, RESERVED | {"charge": OTHER}),
        (RESERVED, RELEASED, RESERVED),
        (RELEASED,),
        (VOIDED,),
        (RESERVED, RELEASED | {"charge": CHEAP}),
        (RESERVED, RELEASED | {"sealed": None}),
        (RESERVED | {"draws": None},),
        (RESERVED | {"sealed": "2" * 64},),
        (RESERVED, VOIDED, RELEASED),
    ],
    ids=[
        "void after release", "two versions", "charged twice", "two starts", "released again",
        "uncharged", "void of nothing", "cheaper", "nothing sealed", "no draws", "sealed early",
        "released after void",
    ],
)  # fmt: skip
def test_a_story_that_makes_no_sense_is_refused_whoever_signed_it(
    events: tuple[dict[str, object], ...],
) -> None:
    kept, public = signed_story(*events)
    with pytest.raises(LedgerError, match=f"entry {1 + len(events)} is out of order"):
        read_chain(kept, public)


def test_nothing_is_sealed_that_is_not_reserved(ledger: Ledger) -> None:
    charge = charge_of(a_task())
    with pytest.raises(LedgerError, match="out of order"):
        ledger.seal(charge, UPDATE)
    reserve(ledger, a_task())
    ledger.void(charge.task)
    with pytest.raises(LedgerError, match="out of order"):
        ledger.seal(charge, UPDATE)
    assert ledger.sealed(a_task()) is None


def test_a_key_of_draws_that_was_changed_is_not_used(ledger: Ledger, tmp_path: Path) -> None:
    """Whoever chose the key would know the noise."""
    charge = reserve(ledger, a_task())
    plainly(tmp_path, "UPDATE draw_keys SET key = zeroblob(32)")
    with pytest.raises(LedgerError, match="not as it was reserved"):
        ledger.draw_key(charge)


def test_a_busy_file_is_not_called_damaged(
    ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A steward who believes in damage may delete the ledger."""
    honest = sqlite3.connect
    monkeypatch.setattr(sqlite3, "connect", lambda *a, **k: honest(*a, **k, timeout=0.05))
    other = honest(file_of(tmp_path), isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(LedgerError, match=r"cannot be used now.*locked"):
        ledger.spent()
    other.close()


@pytest.mark.parametrize("setting", ["synchronous", "secure_delete", "journal_mode"])
def test_settings_that_do_not_take_stop_the_site(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch, setting: str
) -> None:
    wrong = {"synchronous": "OFF", "secure_delete": "OFF", "journal_mode": "DELETE"}
    settings = tuple((n, wrong[n] if n == setting else w, t) for n, w, t in store._SETTINGS)
    monkeypatch.setattr(store, "_SETTINGS", settings)
    with pytest.raises(LedgerError, match=f"{setting} cannot be"):
        ledger.spent()


def test_a_sealed_update_that_was_changed_is_not_sent(ledger: Ledger, tmp_path: Path) -> None:
    reserve_and_seal(ledger, a_task())
    plainly(tmp_path, "UPDATE sealed SET payload = x'00000000'")
    with pytest.raises(LedgerError, match="not as it was sealed"):
        ledger.sealed(a_task())


@pytest.mark.parametrize("content", [b"not a database at all" * 100, b"SQLite format 3\0" * 9])
def test_a_file_that_is_no_ledger_stops_the_site(
    ledger: Ledger, tmp_path: Path, content: bytes
) -> None:
    reserve(ledger, a_task())
    file_of(tmp_path).write_bytes(content)
    with pytest.raises(LedgerError, match="expected a FedLoom ledger"):
        ledger.spent()


@pytest.mark.parametrize("name", ["site.key", "ledger.sqlite"])
@pytest.mark.parametrize("mode", [0o644, 0o640, 0o602])
def test_what_others_may_read_is_refused(
    ledger: Ledger, tmp_path: Path, name: str, mode: int
) -> None:
    reserve(ledger, a_task())
    (tmp_path / "state" / name).chmod(mode)
    with pytest.raises(CredentialError, match="owner only"):
        ledger.spent()


def test_a_key_is_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "site.key"
    key = SigningKey.generate()
    key.keep(path)
    assert read_key(path).public == key.public
    with pytest.raises(CredentialError, match="exists already"):
        SigningKey.generate().keep(path)


def test_two_tasks_at_once_in_one_process_are_refused(ledger: Ledger, tmp_path: Path) -> None:
    with ledger.held(), pytest.raises(SiteRefusal) as caught, Ledger(tmp_path / "state").held():
        pass
    assert caught.value.rule == "busy"
    with ledger.held():
        pass


def test_the_lock_is_freed_when_a_task_fails(ledger: Ledger) -> None:
    with pytest.raises(RuntimeError), ledger.held():
        raise RuntimeError
    with ledger.held():
        pass


HOLD = """
import sys
from pathlib import Path
from fedloom.client.ledger.ledger import Ledger
with Ledger(Path(sys.argv[1])).held():
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_second_process_is_refused_until_the_first_is_killed(
    ledger: Ledger, tmp_path: Path
) -> None:
    other = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path / "state")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        with pytest.raises(SiteRefusal) as caught, ledger.held():
            pass
        assert caught.value.rule == "busy"
    finally:
        other.send_signal(signal.SIGKILL)
        other.communicate()
    with ledger.held():
        pass


def test_only_the_owner_may_read_the_ledger(ledger: Ledger, tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        reserve_and_seal(ledger, a_task())
    finally:
        os.umask(before)
    state = tmp_path / "state"
    assert stat.S_IMODE(state.stat().st_mode) == 0o700
    files = [path for path in state.rglob("*") if path.is_file()]
    assert {path.name for path in files} >= {"ledger.sqlite", "site.key", "lock"}
    for path in files:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path


def test_spending_adds_up_over_plans(ledger: Ledger) -> None:
    louder = a_plan(name="louder", sites=(a_site(noise_multiplier=2.0),))
    quiet = a_plan(name="again")
    for number in (1, 2):
        reserve(ledger, a_task(round_number=number))
    reserve(ledger, a_task(plan=louder))
    reserve(ledger, a_task(plan=quiet))
    spent = ledger.spent()
    assert spent.steps == 4 * STEPS
    assert set(merge(spent.history)) == {
        Mechanism(noise_multiplier=1.0, sample_rate=0.05, steps=3 * STEPS),
        Mechanism(noise_multiplier=2.0, sample_rate=0.05, steps=STEPS),
    }
    without = ledger.spent(but_task=a_task(plan=louder).sha256)
    assert without.steps == 3 * STEPS
    assert {mechanism.noise_multiplier for mechanism in without.history} == {1.0}
    assert ledger.spent(but_task="0" * 64) == spent


def test_a_run_without_privacy_counts_as_steps_and_as_no_mechanism(ledger: Ledger) -> None:
    reserve(ledger, a_task(plan=a_plan(sites=(a_site(noise_multiplier=0.0, epsilon=None),))))
    assert ledger.spent().steps == STEPS
    assert ledger.spent().history == ()
