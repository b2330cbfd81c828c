"""One suite for a site in the same process and one behind a socket: the same bytes from both."""

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from fedloom.client.answering import SiteAnswers
from fedloom.client.rpc.remote import RemoteSite
from fedloom.client.site.config import SiteConfig
from fedloom.client.site.desk import SiteDesk
from fedloom.client.site.directory import SiteDirectory
from fedloom.client.site.policy.document import Policy
from fedloom.client.site.steward import Steward
from fedloom.client.training.trainer import Trainer
from fedloom.shared.config.privacy import MetricsSection
from fedloom.shared.plan import Plan
from fedloom.shared.wire.envelope import Envelope
from fedloom.shared.wire.frame import Frame
from fedloom.shared.wire.heads import LedgerHead
from fedloom.shared.wire.messages import HelloHeader, TrainTask
from tests.support.served import a_question, behind_a_socket
from tests.support.sites import a_policy, a_site, write_settings
from tests.support.training import make_plan, site_plan

ROWS, BATCH, ROUNDS = 60, 20, 3
# Seeded, so that two sites of equal records give equal bytes.
POLICY = a_policy(min_units=10, epsilon=50.0, seeded_noise=True)


@contextmanager
def in_process(settings: Path) -> Iterator[SiteAnswers]:
    yield SiteDesk(settings, SiteDirectory())


@contextmanager
def remote(settings: Path) -> Iterator[SiteAnswers]:
    with behind_a_socket(settings) as address:
        yield RemoteSite(address)


WAYS = {"in process": in_process, "behind a socket": remote}


class Asker:
    """Asks one site, and writes down all that came back but times and signatures."""

    def __init__(self, site: SiteAnswers, config: SiteConfig, plan: Plan) -> None:
        self.site, self.config, self.plan = site, config, plan
        self._start = Trainer(plan, config.model).start
        self.seen: list[tuple[str, bytes, int | None]] = []
        self.stages: list[str] = []

    def task(self, number: int = 1, plan: Plan | None = None) -> TrainTask:
        return TrainTask(plan=plan or self.plan, site="north", round=number, adapter=self._start)

    def train(self, frame: Frame, head: LedgerHead | None = None) -> Envelope:
        answer = self.site.train(Envelope(frame=frame, head=head), self.stages.append)
        number = answer.head.number if answer.head else None
        self.seen.append((answer.frame.header, answer.frame.payload, number))
        return answer

    @property
    def rules(self) -> list[str | None]:
        return [json.loads(header).get("rule") for header, *_ in self.seen]


def hello(asker: Asker) -> None:
    found = HelloHeader.parse(asker.site.hello(a_question()).frame.header)
    assert found.site == "north" and found.budget is not None
    assert (found.budget.epsilon_allowed, found.budget.epsilon_spent) == (50.0, 0.0)
    asker.seen.append((found.model_dump_json(), b"", None))


def rounds(asker: Asker) -> None:
    for number in range(1, ROUNDS + 1):
        asker.train(asker.task(number).pack())
    assert asker.rules == [None] * ROUNDS
    assert asker.stages == ["checked", "charged", "sealed"] * ROUNDS
    assert len({payload for _, payload, _ in asker.seen}) == ROUNDS


def asked_again(asker: Asker) -> None:
    first = asker.train(asker.task().pack())
    assert asker.train(asker.task().pack(), first.head) == first
    assert asker.stages == ["checked", "charged", "sealed"], "the second is not trained anew"


def refusals(asker: Asker) -> None:
    plan = asker.plan
    for changed in (
        plan.model_copy(update={"model": plan.model.model_copy(update={"sha256": "0" * 64})}),
        plan.model_copy(update={"sites": (site_plan(noise=0.25, rate=BATCH / ROWS, units=ROWS),)}),
        plan.model_copy(update={"lora": plan.lora.model_copy(update={"rank": 65})}),
    ):
        asker.train(asker.task(plan=changed).pack())
    asker.train(asker.task(ROUNDS + 1).pack())
    assert asker.rules == ["base-model", "steps", "max-rank", "round"]
    assert not asker.stages


def garbage(asker: Asker) -> None:
    task = asker.task().pack()
    asker.train(Frame(header="{}", payload=task.payload))
    asker.train(Frame(header=task.header, payload=task.payload[:-4]))
    asker.train(Frame(header=task.header, payload=b"\xff" * len(task.payload)))
    asker.train(Frame(header=task.header.replace("a", "b")))
    assert asker.rules == ["cannot-train"] * 4


def older_copy(asker: Asker) -> None:
    """The site's ledger is put back as it was before a round that the coordinator saw."""
    asker.train(asker.task(1).pack())
    copy = asker.config.state.with_name("copy")
    shutil.copytree(asker.config.state, copy)
    newest = asker.train(asker.task(2).pack()).head
    shutil.rmtree(asker.config.state)
    copy.rename(asker.config.state)
    asker.train(asker.task(3).pack(), newest)
    assert asker.rules[-1] == "ledger-behind"


def waits_for_a_steward(asker: Asker) -> None:
    manual = Policy.model_validate(POLICY.model_dump() | {"approval": {"mode": "manual"}})
    settings = write_settings(asker.config, manual)
    asker.train(asker.task().pack())
    steward = Steward.of(settings)
    steward.approve(steward.find(asker.plan.sha256[:8]))
    asker.train(asker.task().pack())
    asker.train(asker.task(plan=asker.plan.model_copy(update={"name": "other"})).pack())
    assert asker.rules == ["approval", None, "approval"]


def measured(asker: Asker) -> None:
    """A metric is asked for, first without leave and then with it."""
    metrics = MetricsSection(values=("held-out-accuracy",), every=2)
    plan = asker.plan.model_copy(update={"metrics": metrics})
    asker.train(asker.task(plan=plan).pack())
    release = {"values": ["held-out-accuracy"]}
    write_settings(asker.config, Policy.model_validate(POLICY.model_dump() | {"release": release}))
    for number in range(1, ROUNDS + 1):
        asker.train(asker.task(number, plan=plan).pack())
    assert asker.rules == ["released-values"] + [None] * ROUNDS
    told = [json.loads(header).get("held_out") for header, *_ in asker.seen]
    assert [counts is not None for counts in told] == [False, False, True, False]


Scenario = Callable[[Asker], None]
SCENARIOS: tuple[Scenario, ...] = (
    hello, rounds, asked_again, refusals, garbage, older_copy, waits_for_a_steward, measured,
)  # fmt: skip


def a_plan(model: Path) -> Plan:
    site = site_plan(rate=BATCH / ROWS, units=ROWS).model_copy(update={"steps": ROUNDS})
    plan = make_plan(model, batch=BATCH, site=site, seed=5)
    rounds = plan.rounds.model_copy(update={"total": ROUNDS})
    return plan.model_copy(update={"rounds": rounds})


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.__name__)
def test_both_ways_give_the_same_bytes(
    tmp_path: Path, tiny_model: Path, scenario: Scenario
) -> None:
    seen = []
    for name, way in WAYS.items():
        home = tmp_path / name.replace(" ", "-")
        home.mkdir()
        config = a_site(home, model=tiny_model, rows=ROWS)
        with way(write_settings(config, POLICY)) as site:
            asker = Asker(site, config, a_plan(tiny_model))
            scenario(asker)
        seen.append((asker.seen, asker.stages))
    assert seen[0] == seen[1]
    assert seen[0][0]
