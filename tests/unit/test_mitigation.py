"""Copies and weights within one privacy unit: what they change, and what they cannot."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from fedloom.client.site.config import SourceSettings
from fedloom.client.site.examples import SiteExamples
from fedloom.client.training import pieces
from fedloom.client.training import trainer as trainer_module
from fedloom.client.training.mitigation import copies_of, weight_of
from fedloom.client.training.optimizer import SecureDPOptimizer
from fedloom.client.training.passes import Passes
from fedloom.client.training.pieces import ClipGroup, MicroBatch
from fedloom.client.training.rows import PLAIN, DrawnUnit, RecordRows
from fedloom.client.training.trainer import Trainer
from fedloom.shared.config.mitigation import MitigationSection
from fedloom.shared.data.chats import Turn
from fedloom.shared.data.records import Record, group_by_unit
from fedloom.shared.errors import TrainingError
from fedloom.shared.plan import Plan
from fedloom.shared.tasks.base import Example
from fedloom.shared.wire.messages import TrainTask
from tests.support.biased import biased_rows
from tests.support.sites import a_policy, a_site, service_of
from tests.support.tiny import write_csv, write_tiny_model
from tests.support.training import (
    fixed_stream,
    make_plan,
    naive_clipped_sum,
    no_units,
    records,
    site_plan,
    warmed,
)

SILENT = site_plan(noise=1e-9)
GENDER = MitigationSection(counterfactuals=("gender",))
HEAVY = MitigationSection(
    counterfactuals=("gender",), group_column="sex", weights={"f": 100.0, "m": 0.5}
)
OTHER = {"he": "she", "she": "he"}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("words") / "model"
    return write_tiny_model(folder, words=tuple(OTHER), layers=3)


def a_plan(model: Path, mitigation: MitigationSection | None, **changes: object) -> Plan:
    usual: dict[str, object] = {"site": SILENT, "clip_norm": 0.72, "micro_tokens": 5 * 32}
    plan = make_plan(model, **(usual | changes))  # type: ignore[arg-type]
    return plan.model_copy(update={"mitigation": mitigation})


def people(count: int, *, seed: int = 0, unit: str | None = None) -> list[Record]:
    """Every second record speaks of a woman or a man; each third belongs to one author."""
    plain = records(count, seed=seed)
    told = biased_rows(count, seed=seed, bias=0.5)
    mixed = [
        Record(text=row["text"], label=each.label, unit=each.unit, group=row["sex"])
        if at % 2
        else each
        for at, (each, row) in enumerate(zip(plain, told, strict=True))
    ]
    return [replace(each, unit=unit or f"author {at // 3}") for at, each in enumerate(mixed)]


def by_hand(record: Record) -> list[Record]:
    """The record and its copy, by plain replacement of the two pronouns that the texts have."""
    swapped = " ".join(OTHER.get(word, word) for word in record.text.split())
    return [record] if swapped == record.text else [record, replace(record, text=swapped)]


def summed(model: Path, plan: Plan, rows: list[Record]) -> NDArray[np.float64]:
    """What one private step of the product sums, read off its update."""
    trainer = Trainer(plan, model)
    warmed(trainer, plan, model)
    units = trainer.encode_to_train(rows, group_by_unit(rows, unit=plan.privacy.unit))
    return -trainer.train(plan.sites[0], units, stream=fixed_stream()).astype(np.float64)


@pytest.mark.parametrize("unit", ["record", "author"])
@pytest.mark.parametrize("mitigation", [GENDER, HEAVY], ids=["copies", "both"])
def test_a_step_equals_a_loop_over_records_and_copies(
    model: Path, unit: str, mitigation: MitigationSection
) -> None:
    """A unit's gradient is the mean over its records of weight times mean over the copies."""
    plan, rows = a_plan(model, mitigation, unit=unit), people(24)
    trainer = Trainer(plan, model)
    adapter = warmed(trainer, plan, model)
    grouped = [[rows[at] for at in group] for group in group_by_unit(rows, unit=unit)]
    groups, shares = [], []
    for group in grouped:
        groups.append([copy for record in group for copy in by_hand(record)])
        shares.append(
            [
                mitigation.weights.get(record.group, 1.0) / len(by_hand(record)) / len(group)
                for record in group
                for _ in by_hand(record)
            ]
        )
    names = [spec.name for spec in trainer.trained.tensors]
    expected, norms = naive_clipped_sum(plan, model, adapter, groups, names, shares=shares)
    assert min(norms) < plan.privacy.clip_norm < max(norms), "clipping must be at work"
    np.testing.assert_allclose(summed(model, plan, rows), expected, atol=2e-5)


def check_one_unit_moves_at_most_the_clip_norm(
    model: Path, mitigation: MitigationSection = HEAVY, *, micro_tokens: int = 5 * 32
) -> None:
    plan = a_plan(model, mitigation, clip_norm=0.01, unit="author", micro_tokens=micro_tokens)
    others, one = people(12), people(40, seed=9, unit="the-one")
    moved = summed(model, plan, others + one) - summed(model, plan, others)
    assert np.linalg.norm(moved) <= 0.01 * (1 + 1e-3)


@pytest.mark.parametrize("micro_tokens", [5 * 32, 100 * 32], ids=["in pieces", "whole"])
def test_a_unit_with_copies_and_huge_weights_moves_the_sum_by_at_most_the_clip_norm(
    model: Path, micro_tokens: int
) -> None:
    check_one_unit_moves_at_most_the_clip_norm(model, micro_tokens=micro_tokens)


def test_control_copies_as_units_of_their_own_are_caught(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each copy clipped by itself: one unit would have as many votes as it has rows."""
    honest = pieces.clip_groups

    def each_alone(
        batch: Sequence[DrawnUnit],
        examples: Sequence[Example],
        *,
        max_tokens: int,
        records: RecordRows,
    ) -> Iterator[ClipGroup]:
        rows = [(at,) for unit in batch for at in records.of_unit(unit).rows]
        return honest(rows, examples, max_tokens=max_tokens)

    monkeypatch.setattr(trainer_module, "clip_groups", each_alone)
    with pytest.raises(AssertionError):
        check_one_unit_moves_at_most_the_clip_norm(model)


def test_control_copies_as_records_of_the_batch_are_caught(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Encoded beside the records instead of within them, copies would be sampled as units."""

    def beside(self: Trainer, rows: list[Record], groups: object) -> object:
        more = [copy for row in rows for copy in (row, *copies_of(row, GENDER))]
        return self.encode(more, group_by_unit(more, unit="record"))

    monkeypatch.setattr(Trainer, "encode_to_train", beside)
    with pytest.raises(AssertionError):
        check_one_unit_moves_at_most_the_clip_norm(model)


def test_control_a_weight_after_clipping_is_caught(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = SecureDPOptimizer.clip_and_accumulate

    def weighted(self: SecureDPOptimizer) -> None:
        honest(self)
        for parameter in self.params:
            parameter.summed_grad = parameter.summed_grad * 2

    monkeypatch.setattr(SecureDPOptimizer, "clip_and_accumulate", weighted)
    with pytest.raises(AssertionError):
        check_one_unit_moves_at_most_the_clip_norm(model)


def test_where_nothing_is_swapped_or_weighted_the_update_is_the_same_to_the_byte(
    model: Path,
) -> None:
    rows = records(30)
    found = [
        summed(model, a_plan(model, mitigation), rows).tobytes()
        for mitigation in (None, GENDER, MitigationSection(group_column="x", weights={"y": 2.0}))
    ]
    assert found[0] == found[1] == found[2]


def test_a_unit_without_copies_counts_as_ever() -> None:
    for size in range(1, 50):
        unit = tuple(range(size))
        assert PLAIN.of_unit(unit).rows == unit
        assert PLAIN.of_unit(unit).shares == (1 / size,) * size


def test_the_noise_is_the_same_and_sampling_sees_no_copies(model: Path) -> None:
    plans = [a_plan(model, at, site=site_plan(rate=0.5), seed=3) for at in (None, HEAVY)]
    noise = []
    for plan in plans:
        trainer = Trainer(plan, model)
        noise.append(trainer.train(plan.sites[0], no_units(), stream=fixed_stream()))
    np.testing.assert_array_equal(*noise)
    rows = people(40)
    drawn = [
        Trainer(plan, model)
        .encode_to_train(rows, group_by_unit(rows, unit="author"))
        .sample(rate=0.5, stream=fixed_stream())
        for plan in plans
    ]
    assert drawn[0] == drawn[1]


def test_the_cap_on_a_unit_counts_records_and_not_copies(model: Path) -> None:
    trainer = Trainer(a_plan(model, GENDER, unit="author", cap=2), model)
    rows = people(30, unit="one")
    units = trainer.encode_to_train(rows, group_by_unit(rows, unit="author"))
    for label in "abcdefgh":
        [unit] = units.sample(rate=1.0, stream=fixed_stream(label))
        assert len(unit) == 2 and max(unit) < len(rows)


def test_kept_states_with_copies_change_only_rounding(model: Path, tmp_path: Path) -> None:
    plan, rows = a_plan(model, GENDER), people(30)
    plan = plan.model_copy(update={"lora": plan.lora.model_copy(update={"last_layers": 1})})
    trainer = Trainer(plan, model)
    adapter = warmed(trainer, plan, model)
    units = trainer.encode_to_train(rows, group_by_unit(rows, unit="record"))
    assert len(units.examples) > len(rows)
    hidden = trainer.hidden_states(units.examples, tmp_path, expected=60, max_bytes=10**9)
    assert hidden is not None
    found = []
    for states in (None, hidden):
        trainer.load(adapter)
        found.append(trainer.train(plan.sites[0], units, stream=fixed_stream(), hidden=states))
    assert np.linalg.norm(found[0] - found[1]) < 1e-5 * np.linalg.norm(found[0])


def test_what_states_may_take_is_judged_by_public_numbers(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the copies that there are, one record could decide how all others are rounded."""
    config = a_site(tmp_path, model=model, rows=100)
    plan = a_plan(model, GENDER, steps=3, site=site_plan(units=100))
    plan = plan.model_copy(update={"lora": plan.lora.model_copy(update={"last_layers": 1})})
    trainer, told = Trainer(plan, model), []
    monkeypatch.setattr(Trainer, "hidden_states", lambda *_, expected, **__: told.append(expected))
    examples = SiteExamples(config)
    examples.hidden(plan, trainer, examples.units(plan, trainer))
    assert told == [100 * (1 + GENDER.most_copies)]


def test_held_out_records_are_measured_as_they_are(model: Path, tmp_path: Path) -> None:
    config = a_site(tmp_path, model=model, rows=10)
    write_csv(config.source.path, biased_rows(200, seed=1, bias=0.5))
    trainer, examples = Trainer(a_plan(model, GENDER), model), SiteExamples(config)
    held_out = examples.held_out(trainer._plan, trainer)
    assert held_out.rows == PLAIN and len(held_out.examples) == len(held_out.groups)
    trained = examples.units(trainer._plan, trainer)
    assert len(trained.examples) == 2 * len(trained.groups)


def test_the_ledger_charges_the_same_with_and_without(model: Path, tmp_path: Path) -> None:
    charged = []
    for name, mitigation in (("without", None), ("with", HEAVY)):
        (tmp_path / name).mkdir()
        config = a_site(tmp_path / name, model=model, rows=100)
        source = SourceSettings(**{**config.source.model_dump(), "group": "sex"})
        config = config.model_copy(update={"source": source})
        write_csv(config.source.path, biased_rows(150, seed=1, bias=0.5))
        site = site_plan(rate=0.2, units=100)
        plan = a_plan(model, mitigation, batch=20, site=site, seed=None, clip_norm=1.0)
        service = service_of(config, a_policy(min_units=10))
        start = Trainer(plan, model).start
        service.train(TrainTask(plan=plan, site="north", round=1, adapter=start))
        charged.append(service.budget().epsilon_spent)
    assert charged[0] == charged[1] and charged[0]


def test_control_a_loss_that_forgets_its_share_is_refused_by_the_self_check(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Shares taken relative to their batch are right for single rows and wrong together."""
    honest = Passes.losses

    def relative(self: Passes, piece: MicroBatch) -> object:
        return honest(self, piece) / max(piece.shares)

    monkeypatch.setattr(Passes, "losses", relative)
    with pytest.raises(TrainingError, match="not those of single records"):
        Trainer(a_plan(model, GENDER), model)


def a_record(text: str, **changes: object) -> Record:
    return replace(Record(text=text, label=0, unit="u", answer="his"), **changes)


def test_axes_take_turns_up_to_the_cap_and_a_label_stays() -> None:
    both = partial(MitigationSection, counterfactuals=("gender", "religion"))
    record = a_record("his church")
    assert [copy.text for copy in copies_of(record, both())] == [
        "her church", "his mosque", "his synagogue", "his temple",
    ]  # fmt: skip
    assert [copy.text for copy in copies_of(record, both(most_copies=2))] == [
        "her church", "his mosque",
    ]  # fmt: skip
    assert {copy.answer for copy in copies_of(record, both())} == {"his"}
    assert copies_of(a_record("nobody"), both()) == ()


def test_a_free_answer_and_what_was_said_before_are_exchanged_with_the_text() -> None:
    before = (Turn(role="user", content="Tell me of him."),)
    [copy] = copies_of(a_record("Who?", label=-1, before=before, answer="He is a king."), GENDER)
    assert copy.before[0].content == "Tell me of her."
    assert (copy.text, copy.answer) == ("Who?", "She is a queen.")


def test_a_record_weighs_by_its_column_or_by_whom_it_mentions() -> None:
    column = MitigationSection(group_column="sex", weights={"f": 3.0})
    assert weight_of(a_record("she", group="f"), column) == 3.0
    assert weight_of(a_record("she", group="m"), column) == 1.0
    assert weight_of(a_record("she"), column) == 1.0
    mentioned = MitigationSection(group_axis="gender", weights={"female": 3.0, "male": 0.5})
    assert weight_of(a_record("she"), mentioned) == 3.0
    assert weight_of(a_record("she and he"), mentioned) == 1.75
    assert weight_of(a_record("nobody"), mentioned) == 1.0
