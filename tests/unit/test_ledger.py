"""The site's ledger: durable, charged once, answered once, held by one process."""

import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from fedloom.client.site.ledger import Entry, Ledger, charge_of
from fedloom.shared.errors import SiteRefusal, TrainingError
from fedloom.shared.privacy.accounting import Mechanism, merge
from fedloom.shared.wire.frame import Frame, to_payload
from fedloom.shared.wire.messages import TrainTask
from tests.support.plans import STEPS, a_plan, a_site, a_task

# A payload whose raw bytes hold line ends, as any array's may.
UPDATE = Frame(header='{"a":"1\\n2"}', payload=b"\n\n{" + to_payload(np.ones(3, np.float32)))


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(tmp_path / "state")


def file_of(ledger: Ledger, tmp_path: Path) -> Path:
    return tmp_path / "state" / "ledger.jsonl"


def reserve(ledger: Ledger, task: TrainTask) -> Entry:
    charge = charge_of(task)
    with ledger.held():
        ledger.reserve(task, charge)
    return charge


def reserve_and_seal(ledger: Ledger, task: TrainTask, frame: Frame = UPDATE) -> None:
    charge = reserve(ledger, task)
    with ledger.held():
        ledger.seal(charge, frame)


def test_a_charge_is_the_plans_mechanism_for_one_round() -> None:
    task = a_task(plan=a_plan(sites=(a_site(noise_multiplier=1.25),)), round_number=2)
    charge = charge_of(task)
    assert (charge.event, charge.round) == ("reserved", 2)
    assert (charge.task, charge.plan) == (task.sha256, task.plan.sha256)
    assert (charge.noise_multiplier, charge.sample_rate, charge.steps) == (1.25, 0.05, STEPS)


def test_each_task_has_a_key_of_its_own_kept_until_its_update_is_sealed(
    ledger: Ledger, tmp_path: Path
) -> None:
    charges = [charge_of(a_task(round_number=number)) for number in (1, 2)]
    first, second = (ledger.draw_key(charge) for charge in charges)
    assert len(first) == len(second) == 32 and first != second
    assert Ledger(tmp_path / "state").draw_key(charges[0]) == first
    [one, two] = (tmp_path / "state" / "keys").iterdir()
    assert {stat.S_IMODE(path.stat().st_mode) for path in (one, two)} == {0o600}
    ledger.seal(charges[0], UPDATE)
    assert len(list((tmp_path / "state" / "keys").iterdir())) == 1
    assert Ledger(tmp_path / "other").draw_key(charges[0]) != first


def test_an_empty_ledger_has_spent_nothing(ledger: Ledger) -> None:
    assert ledger.entries() == []
    assert ledger.spent().history == ()
    assert ledger.spent().steps == 0
    assert ledger.sealed(a_task()) is None


def test_a_sealed_update_comes_back_bit_by_bit_in_a_new_process_too(
    ledger: Ledger, tmp_path: Path
) -> None:
    reserve_and_seal(ledger, a_task())
    again = Ledger(tmp_path / "state")
    assert again.sealed(a_task()) == UPDATE
    assert [entry.event for entry in again.entries()] == ["reserved", "released"]


def test_a_reservation_counts_before_anything_is_sealed(ledger: Ledger) -> None:
    # A site that dies while training has spent, as far as anybody can know.
    reserve(ledger, a_task())
    assert ledger.spent().steps == STEPS
    assert ledger.sealed(a_task()) is None


def test_the_same_task_is_charged_once(ledger: Ledger) -> None:
    for _ in range(3):
        reserve(ledger, a_task())
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


@pytest.mark.parametrize("kept", [1, 40, -2, -1])
def test_a_last_line_cut_by_a_crash_is_dropped(ledger: Ledger, tmp_path: Path, kept: int) -> None:
    reserve(ledger, a_task())
    path = file_of(ledger, tmp_path)
    whole = path.read_bytes()
    reserve(ledger, a_task(round_number=2))
    path.write_bytes(whole + path.read_bytes()[len(whole) :][:kept])
    assert len(ledger.entries()) == 1
    # The next charge starts on a line of its own instead of joining the cut one.
    reserve(ledger, a_task(round_number=3))
    assert [entry.round for entry in ledger.entries()] == [1, 3]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize(
    "damage",
    [
        lambda line: line[:-10] + b"\n",
        lambda line: line.replace(b'"steps":2', b'"steps":-2'),
        lambda line: line.replace(b'"steps":2', b'"steps":2,"x":1'),
        lambda line: line.replace(b'"noise_multiplier":1.0', b'"noise_multiplier":NaN'),
        lambda line: b"\n",
        lambda line: b"\xff\n",
        lambda line: b"\0" * len(line) + b"\n",
    ],
    ids=["cut", "negative", "extra", "nan", "blank", "bytes", "zeros"],
)
@pytest.mark.parametrize("at", [0, 1, 2])
def test_a_damaged_whole_line_stops_the_site(
    ledger: Ledger, tmp_path: Path, damage, at: int
) -> None:
    # Skipping it would forget spending.
    for number in (1, 2, 3):
        reserve(ledger, a_task(round_number=number))
    path = file_of(ledger, tmp_path)
    lines = path.read_bytes().splitlines(keepends=True)
    assert damage(lines[at]) != lines[at]
    lines[at] = damage(lines[at])
    path.write_bytes(b"".join(lines))
    for ask in (ledger.entries, ledger.spent, lambda: ledger.sealed(a_task())):
        with pytest.raises(TrainingError, match="damaged"):
            ask()


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
from fedloom.client.site.ledger import Ledger
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


def test_only_the_owner_may_read_ledger_and_updates(ledger: Ledger, tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        reserve_and_seal(ledger, a_task())
    finally:
        os.umask(before)
    state = tmp_path / "state"
    assert stat.S_IMODE(state.stat().st_mode) == 0o700
    files = [path for path in state.rglob("*") if path.is_file()]
    assert {path.name for path in files} >= {"ledger.jsonl", "lock", f"{a_task().sha256}.update"}
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
    without = ledger.spent(except_plan=a_plan().sha256)
    assert without.steps == 2 * STEPS
    assert {mechanism.noise_multiplier for mechanism in without.history} == {1.0, 2.0}
    assert ledger.spent(except_plan="0" * 64) == spent


def test_a_run_without_privacy_counts_as_steps_and_as_no_mechanism(ledger: Ledger) -> None:
    reserve(ledger, a_task(plan=a_plan(sites=(a_site(noise_multiplier=0.0, epsilon=None),))))
    assert ledger.spent().steps == STEPS
    assert ledger.spent().history == ()
