"""A bundle that wants more than the site allows, in the process that Flower gives it.

It stands for code that runs as another user than the service, so it has the relay's channel and
nothing else: it calls every method of `site.proto` with whatever it likes, past FedLoom's own
client.
"""

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import grpc
import numpy as np
import pytest

from fedloom.client.ledger.ledger import Ledger
from fedloom.client.rpc.address import LIMITS, MAX_MESSAGE_BYTES
from fedloom.client.rpc.site_pb2 import Answer, HelloRequest, Task
from fedloom.client.rpc.site_pb2_grpc import SiteStub
from fedloom.client.site.config import SiteConfig
from fedloom.client.training.trainer import Trainer
from fedloom.shared.adapter import Adapter
from fedloom.shared.config.sections import LoraSection, TaskSection
from fedloom.shared.plan import Plan
from fedloom.shared.wire.messages import HelloQuestion, TrainTask
from tests.support.served import behind_a_socket
from tests.support.sites import a_policy, a_site, write_settings
from tests.support.training import make_plan, site_plan

ROWS, BATCH = 60, 20


@dataclass(frozen=True, kw_only=True)
class Bundle:
    """What the hostile code has: a stub, and a plan that the site would accept."""

    stub: SiteStub
    channel: grpc.Channel
    config: SiteConfig
    plan: Plan
    start: Adapter

    def task(self, *, number: int = 1, **changes: object) -> Task:
        plan = self.plan.model_copy(update=changes)
        task = TrainTask(plan=plan, site="north", round=number, adapter=self.start)
        return Task(header=task.pack().header, payload=task.pack().payload)

    def ask(self, task: Task) -> Answer:
        *_, last = self.stub.Train(task, timeout=60)
        return last.answer

    def rule(self, task: Task) -> str | None:
        answer = self.ask(task)
        found = json.loads(answer.header)
        assert not (found["kind"] == "refusal" and (answer.payload or answer.head))
        return found.get("rule")

    def hello(self) -> str:
        question = HelloRequest(header=HelloQuestion.fresh().model_dump_json())
        return self.stub.Hello(question).header

    @property
    def charged(self) -> int:
        return len(Ledger(self.config.state).entries())


@pytest.fixture
def bundle(tmp_path: Path, tiny_model: Path) -> Iterator[Bundle]:
    config = a_site(tmp_path, model=tiny_model, rows=ROWS)
    policy = a_policy(min_units=10, epsilon=8.0, max_rounds=10, targets=("query", "value"))
    site = site_plan(noise=2.0, rate=BATCH / ROWS, units=ROWS)
    plan = make_plan(tiny_model, batch=BATCH, site=site, seed=None)
    start = Trainer(plan, tiny_model).start
    with (
        behind_a_socket(write_settings(config, policy)) as address,
        grpc.insecure_channel(address.target, options=LIMITS) as channel,
    ):
        yield Bundle(stub=SiteStub(channel), channel=channel, config=config, plan=plan, start=start)


def a_site_of(**changes: object) -> dict[str, object]:
    site = site_plan(noise=2.0, rate=BATCH / ROWS, units=ROWS)
    return {"sites": (site.model_copy(update=changes),)}


def test_raised_privacy_other_models_and_other_targets_are_refused(bundle: Bundle) -> None:
    plan = bundle.plan
    wishes = {
        "noise-multiplier": a_site_of(noise_multiplier=0.2),
        "epsilon-per-run": a_site_of(noise_multiplier=0.3),
        "sample-rate": a_site_of(sample_rate=1.0),
        "declared-units": a_site_of(declared_units=1),
        "steps": a_site_of(steps=10**6),
        "max-rounds": {
            "rounds": plan.rounds.model_copy(update={"total": 11}), **a_site_of(steps=11)
        },
        "private-training": {
            "privacy": plan.privacy.model_copy(update={"mode": "none"}),
            **a_site_of(noise_multiplier=0.0),
        },
        "seeded-noise": {"privacy": plan.privacy.model_copy(update={"noise_seed": 1})},
        "privacy-unit": {"privacy": plan.privacy.model_copy(update={"unit": "author"})},
        "delta": {"privacy": plan.privacy.model_copy(update={"delta": 0.5})},
        "base-model": {"model": plan.model.model_copy(update={"sha256": "0" * 64})},
        "allowed-targets": {"lora": LoraSection(rank=4, targets=("query", "key"))},
        "max-rank": {"lora": LoraSection(rank=256, targets=("query",))},
        "labels": {"task": TaskSection(labels=("a", "b"))},
        "cannot-train": {"sites": (site_plan().model_copy(update={"name": "south"}),)},
    }  # fmt: skip
    assert {rule: bundle.rule(bundle.task(**wish)) for rule, wish in wishes.items()} == {
        rule: rule for rule in wishes
    }
    assert bundle.charged == 0


def test_repeated_rounds_give_one_answer_at_one_price(bundle: Bundle) -> None:
    """An honest round, then as often as it likes; then from other adapters, to see the noise."""
    first = bundle.ask(bundle.task())
    assert first.payload
    assert all(bundle.ask(bundle.task()).payload == first.payload for _ in range(3))
    spent = Ledger(bundle.config.state).spent()
    other = Adapter(layout=bundle.start.layout, flat=bundle.start.flat + np.float32(1))
    task = TrainTask(plan=bundle.plan, site="north", round=1, adapter=other).pack()
    assert bundle.rule(Task(header=task.header, payload=task.payload)) == "round-answered"
    assert Ledger(bundle.config.state).spent() == spent


def test_budget_is_not_to_be_had_by_many_plans(bundle: Bundle) -> None:
    loud = a_site_of(noise_multiplier=0.8)
    rules = [bundle.rule(bundle.task(name=f"p{number}", **loud)) for number in range(40)]
    first = rules.index("epsilon")
    assert rules == [None] * first + ["epsilon"] * (40 - first)
    hello = json.loads(bundle.hello())
    assert 0 < hello["budget"]["epsilon_spent"] <= 8.0


@pytest.mark.parametrize(
    "task",
    [
        Task(),
        Task(header="{}", payload=b"\0" * 64),
        Task(header="[" * 100_000),
        Task(header="x" * (9 * 2**20)),
        Task(header='{"kind":"train-task"}', remembered_head="{"),
        Task(remembered_head="[" * 100_000),
        Task(header='{"kind":"hello","format":1,"site":"north","budget":null}'),
    ],
    ids=["empty", "braces", "nested", "9 MB", "head", "nested head", "other kind"],
)
def test_messages_that_are_no_task_are_refused_without_a_word(bundle: Bundle, task: Task) -> None:
    assert bundle.rule(task) == "cannot-train"
    assert bundle.charged == 0


def test_absurd_sizes_raw_bytes_and_other_methods_end_in_a_status_alone(bundle: Bundle) -> None:
    """Before FedLoom's code is reached; the status must hold nothing of the site's either."""
    raw = bundle.channel.unary_unary
    calls = {
        "/fedloom.site.v1.Site/Train": os.urandom(4096),
        "/fedloom.site.v1.Site/Hello": os.urandom(64),
        "/fedloom.site.v1.Site/Records": b"",
        "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo": b"",
    }
    for method, content in calls.items():
        with pytest.raises(grpc.RpcError) as caught:
            raw(method)(content, timeout=10)
        details = caught.value.details()
        assert "Traceback" not in details and str(bundle.config.state) not in details
    huge = Task(header="{}", payload=bytes(MAX_MESSAGE_BYTES))
    with pytest.raises(grpc.RpcError) as caught:
        list(bundle.stub.Train(huge, timeout=60))
    assert caught.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
    assert bundle.rule(bundle.task()) is None, "the service lives on"


def test_a_crowd_of_calls_is_turned_away_and_the_service_lives(bundle: Bundle) -> None:
    streams = [bundle.stub.Train(bundle.task(name=f"c{number}")) for number in range(40)]
    codes = set()
    for stream in streams:
        try:
            list(stream)
        except grpc.RpcError as error:
            codes.add(error.code())
    assert codes == {grpc.StatusCode.RESOURCE_EXHAUSTED}
    assert json.loads(bundle.hello())["site"] == "north"
