"""The site's service: checked, charged, trained, sealed, in that order, whatever is asked."""

import json
import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from fedloom.client.ledger.entries import charge_of
from fedloom.client.ledger.ledger import Ledger
from fedloom.client.site.config import SiteConfig
from fedloom.client.site.desk import SiteDesk
from fedloom.client.site.directory import SiteDirectory
from fedloom.client.site.service import SiteService
from fedloom.client.training.randomness import Stream
from fedloom.client.training.rows import DrawnUnit
from fedloom.client.training.trainer import Trainer
from fedloom.client.training.units import TrainingUnits
from fedloom.shared.errors import ConfigError, LedgerError, ModelError, SiteRefusal
from fedloom.shared.plan import Plan
from fedloom.shared.wire.envelope import Envelope
from fedloom.shared.wire.messages import AdapterUpdate, TrainTask
from tests.support.served import a_question
from tests.support.sites import a_policy, a_site, begin, service_of, write_settings
from tests.support.tiny import sentences, write_csv, write_tiny_model
from tests.support.training import make_plan, site_plan

ROWS, BATCH = 100, 20
POLICY = a_policy(epsilon=8.0, min_units=ROWS)
PRIVATE_WORDS = "patient 4711 has a cough"


def a_plan(model: Path, *, noise: float = 1.0, seed: int | None = None, **more: object) -> Plan:
    """By default unseeded: what a site answers by itself must not lean on repeatable noise."""
    site = site_plan(noise=noise, rate=BATCH / ROWS, units=ROWS)
    return make_plan(model, batch=BATCH, site=site, seed=seed, **more)


def a_task(plan: Plan, model: Path) -> TrainTask:
    start = Trainer(plan, model).start
    return TrainTask(plan=plan, site="north", round=1, adapter=start)


def answered(service: SiteService, plan: Plan, model: Path) -> AdapterUpdate:
    frame = service.train(a_task(plan, model)).frame
    return AdapterUpdate.unpack(frame, size=len(frame.payload) // 4)


@pytest.fixture
def config(tmp_path: Path, tiny_model: Path) -> SiteConfig:
    return a_site(tmp_path, model=tiny_model, rows=ROWS)


@pytest.fixture
def service(config: SiteConfig) -> SiteService:
    return service_of(config, POLICY)


def test_the_same_task_is_answered_by_the_same_bytes_and_charged_once(
    service: SiteService, config: SiteConfig, tiny_model: Path
) -> None:
    """Fresh noise each time would let a server average it away."""
    task = a_task(a_plan(tiny_model), tiny_model)
    first = service.train(task)
    assert service.train(task) == first
    assert service_of(config, POLICY).train(task) == first
    events = [entry.event for entry in Ledger(config.state).entries()]
    assert events == ["reserved", "released"]


def test_records_are_not_touched_before_the_charge(
    service: SiteService, config: SiteConfig, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A failure that depends on records would be a bit for free, as often as one likes."""

    def stumbles(*_: object) -> None:
        raise IndexError("a record is odd")

    monkeypatch.setattr("fedloom.client.site.examples.SiteExamples.units", stumbles)
    with pytest.raises(IndexError):
        service.train(a_task(a_plan(tiny_model), tiny_model))
    assert [entry.event for entry in Ledger(config.state).entries()] == ["reserved"]


def test_two_sites_of_equal_records_do_not_share_a_draw(
    service: SiteService, config: SiteConfig, tiny_model: Path, tmp_path: Path
) -> None:
    task = a_task(a_plan(tiny_model), tiny_model)
    other = config.model_copy(update={"state": tmp_path / "other"})
    begin(other)
    there, here = service_of(other, POLICY).train(task), service.train(task)
    assert there.frame.payload != here.frame.payload


def test_the_charge_is_on_disk_before_training_begins(
    service: SiteService, config: SiteConfig, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = a_task(a_plan(tiny_model), tiny_model)
    seen: list[str] = []

    def spy(self: Trainer, *args: object, **more: object) -> NDArray[np.float32]:
        seen.extend(entry.event for entry in Ledger(config.state).entries())
        return np.zeros(self.trained.size, np.float32)

    monkeypatch.setattr(Trainer, "train", spy)
    service.train(task)
    assert seen == ["reserved"]


def test_a_stage_is_told_once_it_is_on_disk(
    service: SiteService, config: SiteConfig, tiny_model: Path
) -> None:
    """Who is told "charged" may count on it, whatever dies next; and on "sealed" likewise."""
    seen: dict[str, list[str]] = {}

    def told(stage: str) -> None:
        # Read by a connection of its own, as after a crash at this moment.
        seen[stage] = [entry.event for entry in Ledger(config.state).entries()]

    service.train(a_task(a_plan(tiny_model), tiny_model), told=told)
    assert seen == {"checked": [], "charged": ["reserved"], "sealed": ["reserved", "released"]}


def test_a_charge_that_cannot_be_written_is_told_to_nobody(
    service: SiteService, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> None:
        raise LedgerError("no room")

    stages: list[str] = []
    monkeypatch.setattr(Ledger, "reserve", fails)
    with pytest.raises(LedgerError, match="no room"):
        service.train(a_task(a_plan(tiny_model), tiny_model), told=stages.append)
    assert stages == ["checked"]


def test_a_failed_training_stays_charged_and_tries_again_with_the_same_draws(
    service: SiteService, config: SiteConfig, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With fresh draws, a server that makes attempts fail would choose among many for one price."""
    task = a_task(a_plan(tiny_model), tiny_model)
    honest, drawn = Trainer.train, []

    def fail(self: Trainer, *args: object, **more: object) -> NDArray[np.float32]:
        drawn.append(honest(self, *args, **more))
        raise MemoryError

    with monkeypatch.context() as patched:
        patched.setattr(Trainer, "train", fail)
        for _ in range(2):
            with pytest.raises(MemoryError):
                service.train(task)
    assert Ledger(config.state).spent().steps == 1
    frame = service_of(config, POLICY).train(task).frame
    assert Ledger(config.state).spent().steps == 1
    released = np.frombuffer(frame.payload, dtype="<f4")
    np.testing.assert_array_equal([released] * 2, drawn)
    with pytest.raises(LedgerError, match="no key"):
        Ledger(config.state).draw_key(charge_of(task))


def test_an_overflow_is_released_as_no_change_and_not_told_as_a_failure(
    service: SiteService, config: SiteConfig, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A refusal would say that a noised value lies beyond a bound of the server's choosing."""
    plan = a_plan(tiny_model, clip_norm=1e6)
    wild = plan.training.model_copy(update={"learning_rate": 1e36})
    update = answered(service, plan.model_copy(update={"training": wild}), tiny_model)
    assert np.isfinite(update.delta).all() and np.count_nonzero(update.delta == 0)


def test_what_the_ledger_holds_reaches_the_policy(config: SiteConfig, tiny_model: Path) -> None:
    """Control of a service that hands the policy an empty history."""
    first = a_plan(tiny_model)
    second = first.model_copy(update={"name": "second"})
    epsilon = answered(service_of(config, POLICY), first, tiny_model).epsilon_spent
    assert epsilon is not None
    service = service_of(config, a_policy(epsilon=epsilon * 1.01, min_units=ROWS))
    with pytest.raises(SiteRefusal, match="epsilon"):
        service.train(a_task(second, tiny_model))


def test_training_samples_afresh_at_the_planned_rate_from_a_stream_of_its_own(
    service: SiteService, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Controls of a doubled rate, a batch kept for all steps, and noise that knows the sample."""
    sampled: list[tuple[float, bytes]] = []
    noised: list[bytes] = []
    honest, normal = TrainingUnits.sample, Stream.normal

    def sample(self: TrainingUnits, *, rate: float, stream: Stream) -> list[DrawnUnit]:
        sampled.append((rate, stream._key))
        return honest(self, rate=rate, stream=stream)

    def noise(self: Stream, count: int) -> NDArray[np.float64]:
        noised.append(self._key)
        return normal(self, count)

    monkeypatch.setattr(TrainingUnits, "sample", sample)
    monkeypatch.setattr(Stream, "normal", noise)
    plan = a_plan(tiny_model, steps=3)
    site = plan.sites[0].model_copy(update={"steps": 3})
    service.train(a_task(plan.model_copy(update={"sites": (site,)}), tiny_model))
    assert [rate for rate, _ in sampled] == [BATCH / ROWS] * 3
    assert len({key for _, key in sampled}) == 1
    assert len(set(noised)) == 1 and not {key for _, key in sampled} & set(noised)


@pytest.mark.parametrize(
    ("rule", "change"),
    [
        ("epsilon-per-run", {"noise": 0.3}),
        ("noise-multiplier", {"noise": 0.25}),
        ("seeded-noise", {"seed": 3}),
        ("private-training", {"mode": "none", "noise": 0.0}),
    ],
)
def test_what_the_policy_does_not_cover_is_refused_and_nothing_is_charged(
    service: SiteService,
    config: SiteConfig,
    tiny_model: Path,
    monkeypatch: pytest.MonkeyPatch,
    rule: str,
    change: dict[str, object],
) -> None:
    task = a_task(a_plan(tiny_model, **change), tiny_model)
    monkeypatch.delattr(Trainer, "train")
    with pytest.raises(SiteRefusal) as caught:
        service.train(task)
    assert caught.value.rule == rule
    assert Ledger(config.state).entries() == ()


def test_the_update_states_the_epsilon_of_the_whole_ledger(
    service: SiteService, tiny_model: Path
) -> None:
    """Control of an accountant that starts anew with each plan."""
    spent = []
    for name in ("first", "second"):
        plan = a_plan(tiny_model).model_copy(update={"name": name})
        update = answered(service, plan, tiny_model)
        spent.append(update.epsilon_spent)
    assert spent[0] is not None and spent[1] is not None
    assert spent[1] > spent[0]


def test_a_site_whose_rows_are_all_bad_trains_on_none_of_them(
    service: SiteService, config: SiteConfig, tiny_model: Path
) -> None:
    write_csv(config.source.path, [{"text": "", "label": "positive"}])
    update = answered(service, a_plan(tiny_model), tiny_model)
    assert np.isfinite(update.delta).all() and np.count_nonzero(update.delta)


def test_a_model_that_changes_while_the_site_runs_is_refused(
    service: SiteService, config: SiteConfig, tmp_path: Path
) -> None:
    model = write_tiny_model(tmp_path / "model")
    plan = a_plan(model)
    task = a_task(plan, model)
    moved = service_of(config.model_copy(update={"model": model}), POLICY)
    moved.train(task)
    write_tiny_model(model, seed=99)
    again = replace(task, plan=plan.model_copy(update={"name": "next"}))
    with pytest.raises(SiteRefusal) as caught:
        moved.train(again)
    assert caught.value.rule == "base-model"
    (model / "config.json").unlink()
    with pytest.raises(ModelError):
        moved.train(again)


def test_settings_hold_from_the_moment_they_are_written(
    config: SiteConfig, tiny_model: Path, tmp_path: Path
) -> None:
    settings = write_settings(config, POLICY)
    directory = SiteDirectory()
    before = directory.service(settings)
    assert directory.service(settings) is before
    write_settings(config, a_policy(epsilon=0.01, min_units=ROWS))
    with pytest.raises(SiteRefusal, match="epsilon"):
        directory.service(settings).train(a_task(a_plan(tiny_model), tiny_model))


def test_a_site_that_is_served_keeps_its_ledger_and_its_records(config: SiteConfig) -> None:
    """The locks of a service are on those that it began with."""
    settings, directory = write_settings(config, POLICY), SiteDirectory()
    directory.service(settings)
    moved = config.model_copy(update={"state": config.state.with_name("other")})
    write_settings(moved, POLICY)
    with pytest.raises(ConfigError, match="expected a restart"):
        directory.service(settings)


def test_who_was_taken_out_of_the_records_trains_no_longer(
    service: SiteService, config: SiteConfig, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []
    honest = TrainingUnits.sample

    def sample(self: TrainingUnits, *, rate: float, stream: Stream) -> list[DrawnUnit]:
        seen.append(len(self.groups))
        return honest(self, rate=rate, stream=stream)

    monkeypatch.setattr(TrainingUnits, "sample", sample)
    plan = a_plan(tiny_model)
    rounds = plan.rounds.model_copy(update={"total": 2})
    site = plan.sites[0].model_copy(update={"steps": 2})
    plan = plan.model_copy(update={"rounds": rounds, "sites": (site,)})
    service.train(a_task(plan, tiny_model))
    write_csv(config.source.path, sentences(10, seed=1))
    service.train(replace(a_task(plan, tiny_model), round=2))
    assert seen[0] > 10 >= seen[1]


def test_a_stricter_policy_holds_for_what_no_noise_covers(
    config: SiteConfig, tiny_model: Path
) -> None:
    """Also for an update that was sealed before; one with noise is the same release again."""
    plain = a_task(a_plan(tiny_model, mode="none", noise=0.0), tiny_model)
    service_of(config, a_policy(min_units=ROWS, without_privacy=True)).train(plain)
    with pytest.raises(SiteRefusal) as caught:
        service_of(config, POLICY).train(plain)
    assert caught.value.rule == "private-training"


def test_a_header_that_goes_missing_puts_no_record_into_the_log(
    tmp_path: Path, tiny_model: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Without one the first record stands where the columns' names were."""
    config = a_site(tmp_path, model=tiny_model, rows=ROWS)
    desk = SiteDesk(write_settings(config, POLICY), SiteDirectory())
    config.source.path.write_text("Meier,positive\nHuber,negative\n")
    asked = Envelope(frame=a_task(a_plan(tiny_model), tiny_model).pack())
    with caplog.at_level(logging.DEBUG):
        frame = desk.train(asked).frame
    assert json.loads(frame.header)["rule"] == "cannot-train"
    assert "no column text" in caplog.text and "Meier" not in caplog.text


def test_the_sites_log_has_each_stage_of_a_round(
    config: SiteConfig, tiny_model: Path, caplog: pytest.LogCaptureFixture
) -> None:
    plan = a_plan(tiny_model)
    desk = SiteDesk(write_settings(config, POLICY), SiteDirectory())
    with caplog.at_level(logging.INFO, logger="fedloom.site"):
        desk.train(Envelope(frame=a_task(plan, tiny_model).pack()))
    stages = [record.getMessage() for record in caplog.records if hasattr(record, "round")]
    of = f"round 1 of {plan.name}"
    assert stages == [f"{of}: {name}" for name in ("checked", "charged", "sealed", "answered")]


class _Failing(SiteDirectory):
    """Fails in a way that nobody foresaw, with a text that must stay at home."""

    def service(self, settings: Path) -> SiteService:
        raise RuntimeError(PRIVATE_WORDS)


@pytest.mark.parametrize("kind", ["train", "hello"])
def test_no_words_of_an_unforeseen_error_leave(
    tmp_path: Path, tiny_model: Path, caplog: pytest.LogCaptureFixture, kind: str
) -> None:
    desk = SiteDesk(tmp_path / "site.toml", _Failing())
    asked = Envelope(frame=a_task(a_plan(tiny_model), tiny_model).pack())
    with caplog.at_level(logging.ERROR, logger="fedloom.site"):
        frame = (desk.train(asked) if kind == "train" else desk.hello(a_question())).frame
    rule = "cannot-train" if kind == "train" else "cannot-answer"
    header = {"kind": "refusal", "format": 1, "site": "unknown", "rule": rule}
    assert json.loads(frame.header) == header
    assert frame.payload == b""
    assert PRIVATE_WORDS in caplog.text
