"""The site's service in measured rounds: charged first, told once, and nothing without leave."""

import json
from pathlib import Path

import numpy as np
import pytest

from fedloom.client.ledger.ledger import Ledger
from fedloom.client.site.config import SiteConfig
from fedloom.client.site.measuring import held_out_sums
from fedloom.client.site.service import SiteService
from fedloom.client.training.randomness import Stream
from fedloom.client.training.trainer import Trainer
from fedloom.shared.config.privacy import MetricsSection
from fedloom.shared.data.records import Record, read_rows
from fedloom.shared.errors import SiteRefusal
from fedloom.shared.plan import Plan
from fedloom.shared.privacy.accounting import Mechanism
from fedloom.shared.wire.frame import Frame
from fedloom.shared.wire.messages import AdapterUpdate, HeldOut, TrainTask
from tests.statistical.test_accounting import pld_epsilon
from tests.support.sites import a_policy, a_site, service_of
from tests.support.training import fixed_stream, make_plan, site_plan, units_of

ROWS, BATCH, NOISE = 100, 20, 10.0
METRICS = MetricsSection(values=("held-out-accuracy",), every=1, noise_multiplier=NOISE)
PLAIN = a_policy(min_units=ROWS)
ALLOWING = a_policy(min_units=ROWS, values=("held-out-accuracy",))


def a_plan(model: Path, metrics: MetricsSection = METRICS, **more: object) -> Plan:
    """Unseeded: what is told twice must not lean on repeatable noise."""
    site = site_plan(rate=BATCH / ROWS, units=ROWS)
    plan = make_plan(model, batch=BATCH, site=site, seed=None, **more)  # type: ignore[arg-type]
    return plan.model_copy(update={"metrics": metrics})


def a_task(plan: Plan, model: Path) -> TrainTask:
    return TrainTask(plan=plan, site="north", round=1, adapter=Trainer(plan, model).start)


def opened(frame: Frame) -> AdapterUpdate:
    return AdapterUpdate.unpack(frame, size=len(frame.payload) // 4)


@pytest.fixture
def config(tmp_path: Path, tiny_model: Path) -> SiteConfig:
    return a_site(tmp_path, model=tiny_model, rows=ROWS)


@pytest.fixture
def service(config: SiteConfig) -> SiteService:
    return service_of(config, ALLOWING)


def events(config: SiteConfig) -> list[str]:
    return [entry.event for entry in Ledger(config.state).entries()]


def test_without_leave_nothing_is_measured_or_charged(
    config: SiteConfig, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(Trainer, "right")
    with pytest.raises(SiteRefusal) as caught:
        service_of(config, PLAIN).train(a_task(a_plan(tiny_model), tiny_model))
    assert caught.value.rule == "released-values"
    assert events(config) == []


def test_a_plan_that_asks_for_nothing_is_told_nothing(
    service: SiteService, config: SiteConfig, tiny_model: Path
) -> None:
    plan = a_plan(tiny_model, MetricsSection())
    frame = service.train(a_task(plan, tiny_model)).frame
    assert json.loads(frame.header)["held_out"] is None
    (charge, _) = (entry.charge for entry in Ledger(config.state).entries())
    assert charge.metric_noise is None


def test_what_is_told_is_the_true_counts_with_the_noise_of_the_tasks_own_stream(
    service: SiteService, config: SiteConfig, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Recomputed from the records by another way, at the adapter that the task came with."""
    monkeypatch.setattr("fedloom.client.site.service.task_stream", lambda *_: fixed_stream())
    plan = a_plan(tiny_model)
    told = opened(service.train(a_task(plan, tiny_model)).frame).held_out
    rows = read_rows(config.record_source(), labels=plan.task.labels)
    split = config.record_split()
    held_out = split.held_out([row for row in rows if isinstance(row, Record)])
    assert 10 < len(held_out) < ROWS / 2
    trainer = Trainer(plan, tiny_model)
    right = trainer.right(units_of(trainer, held_out).examples)
    noise = NOISE * 2**0.5 * fixed_stream().child("metric").normal(2)
    wanted = np.array([len(held_out), sum(right)]) + noise
    assert told is not None
    np.testing.assert_allclose([told.units, told.right], wanted, atol=2**-11)


def test_it_is_charged_before_a_record_is_judged_and_the_ledger_covers_it(
    service: SiteService, config: SiteConfig, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest, seen = Trainer.right, []

    def spy(self: Trainer, examples: object) -> list[bool]:
        seen.extend(events(config))
        return honest(self, examples)  # type: ignore[arg-type]

    monkeypatch.setattr(Trainer, "right", spy)
    update = opened(service.train(a_task(a_plan(tiny_model), tiny_model)).frame)
    assert seen == ["reserved"]
    history = [
        Mechanism(noise_multiplier=1.0, sample_rate=BATCH / ROWS, steps=1),
        Mechanism(noise_multiplier=NOISE, sample_rate=1.0, steps=1),
    ]
    assert update.epsilon_spent == pytest.approx(pld_epsilon(history, 1e-5), rel=0.02)
    assert set(Ledger(config.state).spent().history) == set(history)


def test_a_task_that_failed_after_measuring_tells_the_same_when_tried_again(
    service: SiteService, config: SiteConfig, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With fresh draws, a server that makes attempts fail would average the noise away."""
    task = a_task(a_plan(tiny_model), tiny_model)
    honest, told = SiteService._measured, []

    def measured(self: SiteService, *args: object) -> HeldOut | None:
        told.append(honest(self, *args))  # type: ignore[arg-type]
        return told[-1]

    def fail(*_: object, **__: object) -> None:
        raise MemoryError

    monkeypatch.setattr(SiteService, "_measured", measured)
    with monkeypatch.context() as patched:
        patched.setattr(Trainer, "train", fail)
        for _ in range(2):
            with pytest.raises(MemoryError):
                service.train(task)
    first = service_of(config, ALLOWING).train(task)
    assert opened(first.frame).held_out == told[0] == told[1] == told[2]
    assert service.train(task) == first and len(told) == 3, "then it is answered from the ledger"
    assert events(config) == ["reserved", "released"]


def test_control_fresh_draws_would_tell_something_else(tiny_model: Path) -> None:
    keys = (Stream(bytes([at]) * 32).child("metric").normal(2).tolist() for at in (1, 2))
    assert next(keys) != next(keys)


def test_the_update_is_the_same_to_the_byte_with_and_without_a_metric(
    config: SiteConfig, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fedloom.client.site.service.task_stream", lambda *_: fixed_stream())
    frames = []
    for metrics in (METRICS, MetricsSection()):
        home = tmp_path / f"{metrics.every}"
        home.mkdir()
        site = a_site(home, model=tiny_model, rows=ROWS)
        plan = a_plan(tiny_model, metrics)
        frames.append(service_of(site, ALLOWING).train(a_task(plan, tiny_model)).frame)
    assert frames[0].payload == frames[1].payload
    one, other = (json.loads(frame.header) for frame in frames)
    differing = {key for key in one if one[key] != other[key]}
    assert differing == {"plan_sha256", "epsilon_spent", "held_out"}


def test_a_site_without_held_out_records_tells_noise_alone(
    service: SiteService, tmp_path: Path, tiny_model: Path
) -> None:
    """To say that there is nothing to tell would be to tell something."""
    home = tmp_path / "other"
    home.mkdir()
    split = service._config.split.model_copy(update={"test_fraction": 0.0})
    none_held = a_site(home, model=tiny_model, rows=ROWS, split=split)
    task = a_task(a_plan(tiny_model), tiny_model)
    told = opened(service_of(none_held, ALLOWING).train(task).frame).held_out
    assert told is not None and told.units != 0


def test_persons_are_counted_as_persons(
    tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The unit of the ledger is the unit of the counts; five records here are one author's."""
    home = tmp_path / "authors"
    home.mkdir()
    config = a_site(home, model=tiny_model, rows=ROWS)
    source = config.source.model_copy(update={"unit": "author"})
    config = config.model_copy(update={"source": source})
    seen: list[list[float]] = []

    def spy(*args: object) -> object:
        seen.append(held_out_sums(*args).tolist())  # type: ignore[arg-type]
        return np.array(seen[-1])

    monkeypatch.setattr("fedloom.client.site.service.held_out_sums", spy)
    task = a_task(a_plan(tiny_model, unit="author", cap=2), tiny_model)
    service_of(config, ALLOWING).train(task)
    rows = read_rows(config.record_source(), labels=task.plan.task.labels)
    split = config.record_split()
    held_out = split.held_out([row for row in rows if isinstance(row, Record)])
    assert seen[0][0] == len({record.unit for record in held_out}) < len(held_out)
    assert (2 * seen[0][1]).is_integer()
