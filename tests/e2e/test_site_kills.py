"""A site's process, killed for real at every stage of a task and at any moment.

Each child process is a fork that has its models loaded, answers tasks through the site's own
service, and dies by SIGKILL. Noise is unseeded: that a task is answered by the same bytes can
come from the ledger alone.
"""

import itertools
import os
import random
import signal
import time
import traceback
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

import pytest

from fedloom.client.ledger.entries import Charge
from fedloom.client.ledger.ledger import Ledger
from fedloom.client.ledger.story import Story
from fedloom.client.ledger.transaction import Transaction
from fedloom.client.training.pool import TrainerPool
from fedloom.client.training.steps import PrivateStep
from fedloom.client.training.trainer import Trainer
from fedloom.shared.errors import LedgerError
from fedloom.shared.plan import Plan
from fedloom.shared.wire.frame import Frame
from fedloom.shared.wire.messages import TrainTask
from tests.support.sites import a_policy, a_site, begin, service_of
from tests.support.training import make_plan, site_plan

ROUNDS, ROWS, BATCH = 4, 60, 20
POLICY = a_policy(min_units=10, epsilon=50.0)


class Outbox:
    """What the processes of one site ever sent, by round."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir()

    def send(self, number: int, frame: Frame) -> None:
        path = self._folder / f"{number}-{os.getpid()}-{time.monotonic_ns()}"
        part = path.with_suffix(".part")
        part.write_bytes(frame.header.encode() + b"\n" + frame.payload)
        part.rename(path)

    def sent(self) -> dict[int, list[bytes]]:
        found: dict[int, list[bytes]] = {}
        for path in self._folder.iterdir():
            if path.suffix != ".part":
                found.setdefault(int(path.name.split("-")[0]), []).append(path.read_bytes())
        return found


# Stage: whose method, and whether the process dies before it or after.
STAGES: Mapping[str, tuple[type, str, bool]] = {
    "before reserve": (Ledger, "reserve", True),
    "within reserve": (Transaction, "keep_draw_key", False),
    "after reserve": (Ledger, "reserve", False),
    "mid-training": (PrivateStep, "_sum_units", False),
    "before sealing": (Ledger, "seal", True),
    "within sealing": (Transaction, "seal", False),
    "after sealing": (Ledger, "seal", False),
    "after sending": (Outbox, "send", False),
}
ANY_MOMENT = "any moment"


class Killed:
    """The site of one test: its service, and all that its processes ever sent, by round."""

    def __init__(self, home: Path, model: Path) -> None:
        home.mkdir(exist_ok=True)
        self.config = a_site(home, model=model, rows=ROWS)
        site = site_plan(noise=1.0, rate=BATCH / ROWS, units=ROWS)
        plan = make_plan(model, batch=BATCH, site=site, seed=None)
        rounds = plan.rounds.model_copy(update={"total": ROUNDS})
        sites = (site.model_copy(update={"steps": ROUNDS}),)
        self.plan: Plan = plan.model_copy(update={"rounds": rounds, "sites": sites})
        self._start = Trainer(self.plan, model).start
        self._pool = TrainerPool()
        self.outbox = Outbox(home / "sent")
        # The children inherit a loaded model, a checked one, and the encoded records.
        self._warm(home)

    def _warm(self, home: Path) -> None:
        aside = self.config.model_copy(update={"state": home / "aside"})
        begin(aside)
        service_of(aside, POLICY, self._pool).train(self.task(1))
        (home / "aside" / "checks").rename(self.config.state / "checks")

    def task(self, number: int) -> TrainTask:
        return TrainTask(plan=self.plan, site="north", round=number, adapter=self._start)

    def answer(self, first: int, prepare: Callable[[], None]) -> int:
        """In a child: answer all rounds from `first`; returns its process id."""
        child = os.fork()
        if child:
            return child
        status = 1
        try:
            prepare()
            service = service_of(self.config, POLICY, self._pool)
            for number in range(first, ROUNDS + 1):
                self.outbox.send(number, service.train(self.task(number)).frame)
            status = 0
        except Exception:  # noqa: BLE001 - a fork must not run on as a second pytest
            traceback.print_exc()
        finally:
            os._exit(status)

    @property
    def is_done(self) -> bool:
        """Whether every round is released, so that a kill would show nothing."""
        return self._events("released") == list(range(1, ROUNDS + 1))

    def _events(self, event: str) -> list[int]:
        entries = Ledger(self.config.state).entries()
        return sorted(entry.charge.round for entry in entries if entry.event == event)

    def check(self) -> None:
        """The ledger is whole, no round is charged twice, and nothing left without an entry."""
        reserved, released = self._events("reserved"), self._events("released")
        assert len(reserved) == len(set(reserved)), "charged twice"
        assert len(released) == len(set(released))
        assert set(released) <= set(reserved), "charged before it is released"
        for number, frames in self.outbox.sent().items():
            assert number in released, f"round {number} left without an entry"
            assert len(set(frames)) == 1, f"round {number} left in two versions"


def die_at(stage: str, countdown: int) -> Callable[[], None]:
    """Arms a child: SIGKILL at the stage's occurrence number `countdown`."""
    owner, name, before = STAGES[stage]

    def arm() -> None:
        honest, left = getattr(owner, name), [countdown]

        def fatal(*given: object, **more: object) -> object:
            left[0] -= 1
            if before and not left[0]:
                os.kill(os.getpid(), signal.SIGKILL)
            found = honest(*given, **more)
            if not left[0]:
                os.kill(os.getpid(), signal.SIGKILL)
            return found

        setattr(owner, name, fatal)

    return arm


def nothing() -> None:
    """A child that nobody kills from inside."""


def run_and_kill(site: Killed, stage: str, generator: random.Random) -> bool:
    """One child and its end; whether it was killed, not done."""
    if stage == ANY_MOMENT:
        child = site.answer(1, nothing)
        time.sleep(generator.uniform(0, 0.1))
        os.kill(child, signal.SIGKILL)
    else:
        child = site.answer(1, die_at(stage, generator.randint(1, 2)))
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) or status == 0
    return os.WIFSIGNALED(status)


@pytest.mark.parametrize(
    "wanted", [pytest.param(18, id="18 kills"), pytest.param(207, id="207", marks=pytest.mark.slow)]
)
def test_no_kill_spends_twice_or_lets_anything_out_uncharged(
    tmp_path: Path, tiny_model: Path, wanted: int
) -> None:
    """Each stage, and any moment, as often as the others; only while a round is open."""
    generator = random.Random(20)
    kills = Counter[str]()
    each = wanted // (1 + len(STAGES))
    for number in itertools.count():
        site = Killed(tmp_path / str(number), tiny_model)
        while not site.is_done:
            open_stages = [at for at in (*STAGES, ANY_MOMENT) if kills[at] < each]
            if not open_stages:
                finish(site)
                return
            stage = generator.choice(open_stages)
            kills[stage] += run_and_kill(site, stage, generator)
            site.check()
        finish(site)


def finish(site: Killed) -> None:
    """Nobody is killed any more: every round is answered, as it was before."""
    _, status = os.waitpid(site.answer(1, nothing), 0)
    assert status == 0
    site.check()
    assert set(site.outbox.sent()) == set(range(1, ROUNDS + 1))
    assert Ledger(site.config.state).spent().steps == ROUNDS


def no_charge(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the first round is charged, and the ledger takes any story."""
    honest = Ledger.reserve

    def reserve_first(self: Ledger, charge: Charge) -> None:
        if charge.round == 1:
            honest(self, charge)

    monkeypatch.setattr(Ledger, "reserve", reserve_first)
    monkeypatch.setattr(Ledger, "draw_key", lambda *_: os.urandom(32))
    monkeypatch.setattr(Story, "_may_close", lambda *_: True)


def charge_each_attempt(monkeypatch: pytest.MonkeyPatch) -> None:
    """A retry is charged again."""
    honest = Ledger.reserve

    def reserve_again(self: Ledger, charge: Charge) -> None:
        with monkeypatch.context() as patched:
            patched.setattr(Story, "task_of", lambda *_: None)
            honest(self, charge)

    monkeypatch.setattr(Ledger, "reserve", reserve_again)
    monkeypatch.setattr(Ledger, "sealed", lambda *_: None)
    monkeypatch.setattr(Story, "_may_reserve", lambda *_: True)
    monkeypatch.setattr(Ledger, "seal", lambda *_: None)


def no_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each attempt draws afresh, whatever was sealed."""
    honest = Ledger.seal

    def seal_once(self: Ledger, charge: Charge, frame: Frame) -> None:
        with suppress(LedgerError):
            honest(self, charge, frame)

    monkeypatch.setattr(Ledger, "sealed", lambda *_: None)
    monkeypatch.setattr(Ledger, "draw_key", lambda *_: os.urandom(32))
    monkeypatch.setattr(Ledger, "seal", seal_once)


def no_entry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Ledger, "seal", lambda *_: None)


@pytest.mark.parametrize(
    ("broken", "caught_by"),
    [
        (no_charge, "charged before it is released"),
        (charge_each_attempt, "charged twice"),
        (no_memory, "left in two versions"),
        (no_entry, "left without an entry"),
    ],
)
def test_control_a_site_without_charge_memory_or_entry_is_caught(
    tmp_path: Path,
    tiny_model: Path,
    monkeypatch: pytest.MonkeyPatch,
    broken: Callable[[pytest.MonkeyPatch], None],
    caught_by: str,
) -> None:
    site = Killed(tmp_path, tiny_model)
    broken(monkeypatch)
    for _ in range(2):
        os.waitpid(site.answer(1, nothing), 0)
    with pytest.raises(AssertionError, match=caught_by):
        site.check()
