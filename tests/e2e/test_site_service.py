"""`fedloom site serve` as a real process on a real socket: served, killed, approved, stopped."""

import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from fedloom.client.answering import nobody
from fedloom.client.ledger.ledger import Ledger
from fedloom.client.site.config import ServiceSettings, SiteConfig
from fedloom.client.site.policy.document import Policy
from fedloom.client.training.trainer import Trainer
from fedloom.shared.plan import Plan
from fedloom.shared.wire.envelope import Envelope
from fedloom.shared.wire.messages import TrainTask
from tests.support.served import ServiceProcess, short_folder
from tests.support.sites import a_policy, a_site, write_settings
from tests.support.training import make_plan, site_plan

ROWS, BATCH, ROUNDS = 60, 20, 12
POLICY = a_policy(min_units=10, epsilon=50.0)


@dataclass(frozen=True, kw_only=True)
class Served:
    """A site, its service as a process, and a plan of `ROUNDS` rounds that is not seeded."""

    config: SiteConfig
    settings: Path
    process: ServiceProcess
    plan: Plan

    def ask(self, number: int) -> Envelope:
        start = Trainer(self.plan, self.config.model).start
        task = TrainTask(plan=self.plan, site="north", round=number, adapter=start)
        return self.process.site.train(Envelope(frame=task.pack()), nobody)

    def fedloom(
        self, *arguments: str, answer: str | None = None
    ) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "fedloom.cli", "site", *arguments]
        return subprocess.run(
            command, input=answer, capture_output=True, text=True, check=False, timeout=60
        )


@pytest.fixture
def served(tmp_path: Path, tiny_model: Path) -> Iterator[Served]:
    site = site_plan(rate=BATCH / ROWS, units=ROWS).model_copy(update={"steps": ROUNDS})
    plan = make_plan(tiny_model, batch=BATCH, site=site, seed=None)
    plan = plan.model_copy(update={"rounds": plan.rounds.model_copy(update={"total": ROUNDS})})
    with short_folder() as folder:
        service = ServiceSettings(address=f"unix:{folder / 's'}")
        config = a_site(tmp_path, model=tiny_model, rows=ROWS, service=service)
        settings = write_settings(config, POLICY)
        process = ServiceProcess(settings, folder / "s")
        yield Served(config=config, settings=settings, process=process, plan=plan)
        process.kill()


@pytest.mark.slow
def test_a_second_service_is_refused_and_a_stopped_one_says_so(served: Served) -> None:
    served.process.start()
    second = served.fedloom("serve", str(served.settings))
    assert second.returncode == 1
    assert "another trainer service runs on it" in second.stderr
    assert served.ask(1).frame.payload
    answering = served.fedloom("status", str(served.settings)).stdout
    assert "service   answers on" in answering and "of 50 spent" in answering
    served.process.kill(signal.SIGTERM)
    assert "stopped" in served.settings.with_name("serve.log").read_text()
    assert "does not listen" in served.fedloom("status", str(served.settings)).stdout


@pytest.mark.slow
def test_a_plan_waits_for_the_steward_and_then_trains(served: Served) -> None:
    manual = Policy.model_validate(POLICY.model_dump() | {"approval": {"mode": "manual"}})
    served.config.policy.write_text(manual.to_toml(), encoding="utf-8")
    served.process.start()
    assert '"rule":"approval"' in served.ask(1).frame.header
    sha256 = served.plan.sha256
    status = served.fedloom("status", str(served.settings)).stdout
    assert f"waiting   {sha256}" in status
    no = served.fedloom("approve", str(served.settings), sha256[:12], answer="n\n")
    assert no.returncode == 1 and no.stdout.endswith("not signed\n")
    assert '"rule":"approval"' in served.ask(1).frame.header
    asked = served.fedloom("approve", str(served.settings), sha256[:12], "--yes")
    assert asked.returncode == 0, asked.stderr
    for words in ("12 rounds, 12 steps in all", "epsilon   0.00 now", "50 allowed", "signed: plan"):
        assert words in asked.stdout
    assert served.ask(1).frame.payload


@pytest.mark.parametrize(
    "kills", [pytest.param(1, id="1 kill"), pytest.param(12, id="12", marks=pytest.mark.slow)]
)
def test_a_killed_service_goes_on_and_spends_nothing_twice(served: Served, kills: int) -> None:
    """SIGKILL while a round may be at work, at moments of a seeded clock."""
    generator = random.Random(kills)
    answers: dict[int, set[bytes]] = {}
    number = 1
    for _ in range(kills):
        served.process.start()
        killer = threading.Timer(generator.uniform(0.0, 1.5), served.process.kill)
        killer.start()
        while killer.is_alive():
            number = _ask_next(served, number, answers)
        killer.join()
    served.process.start()
    for at in range(1, ROUNDS + 1):
        answers.setdefault(at, set()).add(served.ask(at).frame.payload)
    assert {len(seen) for seen in answers.values()} == {1}, "a round left in two versions"
    entries = Ledger(served.config.state).entries()
    reserved = [entry.charge.round for entry in entries if entry.event == "reserved"]
    assert sorted(reserved) == list(range(1, ROUNDS + 1)), "each round is charged once"


def _ask_next(served: Served, number: int, answers: dict[int, set[bytes]]) -> int:
    payload = served.ask(number).frame.payload
    if not payload:
        time.sleep(0.01)
        return number
    answers.setdefault(number, set()).add(payload)
    return min(number + 1, ROUNDS)
