"""What must hold for any input, searched by hypothesis."""

import tempfile
from fractions import Fraction
from pathlib import Path

import numpy as np
import tomli_w
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from numpy.typing import NDArray

from fedloom.client.training.pieces import clip_groups
from fedloom.server.aggregation.exact_sum import ExactSum
from fedloom.shared.adapter import Adapter, AdapterLayout
from fedloom.shared.config.federation import FederationConfig, read_federation
from fedloom.shared.data.records import Record
from fedloom.shared.data.split import Split
from fedloom.shared.errors import ConfigError
from fedloom.shared.tasks.base import Example
from fedloom.shared.wire.envelope import Envelope
from fedloom.shared.wire.flower import from_records, to_records
from fedloom.shared.wire.frame import Frame, from_payload, to_payload

FINITE = st.floats(width=32, allow_nan=False, allow_infinity=False)
MODEST = settings(max_examples=60, deadline=None)

names = st.text(st.characters(codec="utf-8"), max_size=20)
tensors = st.dictionaries(
    names,
    npst.arrays(np.float32, npst.array_shapes(max_dims=3, max_side=4), elements=FINITE),
    max_size=6,
)


def bits(values: NDArray[np.generic]) -> bytes:
    return np.ascontiguousarray(values).tobytes()


@MODEST
@given(tensors)
def test_an_adapter_unpacks_to_what_was_packed(state: dict[str, NDArray[np.float32]]) -> None:
    adapter = Adapter.from_state(state)
    back = adapter.state()
    assert back.keys() == state.keys()
    for name, values in state.items():
        assert back[name].shape == values.shape
        assert bits(back[name]) == bits(values)
    assert adapter.flat.size == sum(values.size for values in state.values())


@MODEST
@given(tensors, st.randoms(use_true_random=False))
def test_an_adapters_digest_is_of_content_not_of_order(
    state: dict[str, NDArray[np.float32]], shuffler
) -> None:
    items = list(state.items())
    shuffler.shuffle(items)
    assert Adapter.from_state(dict(items)).sha256 == Adapter.from_state(state).sha256
    if state:
        name = next(iter(state))
        renamed = {f"{key}x" if key == name else key: value for key, value in state.items()}
        if len(renamed) == len(state):
            assert Adapter.from_state(renamed).sha256 != Adapter.from_state(state).sha256


@MODEST
@given(tensors, st.data())
def test_adding_to_a_part_changes_that_part_alone(
    state: dict[str, NDArray[np.float32]], data: st.DataObject
) -> None:
    adapter = Adapter.from_state({key: value / 4 for key, value in state.items()})
    chosen = frozenset(data.draw(st.sets(st.sampled_from(sorted(state)))) if state else ())
    part = adapter.layout.select(chosen)
    after = adapter.plus(part, np.ones(part.size)).state()
    for name, values in adapter.state().items():
        added = 1 if name in chosen else 0
        expected = (values.astype(np.float64) + added).astype(np.float32) if added else values
        assert bits(after[name]) == bits(expected)


def test_the_empty_part_of_an_adapter_is_empty() -> None:
    adapter = Adapter.from_state({"w": np.ones(3, np.float32)})
    assert adapter.select(AdapterLayout(())).shape == (0,)


@MODEST
@given(npst.arrays(np.float32, st.integers(0, 50), elements=FINITE))
def test_a_payload_comes_back_bit_by_bit(flat: NDArray[np.float32]) -> None:
    frame = Frame(header="{}", payload=to_payload(flat))
    carried = from_records(to_records(Envelope(frame=frame))).frame
    assert carried == frame
    assert bits(from_payload(carried.payload, size=flat.size)) == bits(flat)


updates = st.integers(1, 8).flatmap(
    lambda count: st.tuples(
        npst.arrays(
            np.float32,
            (count, 5),
            elements=st.floats(-1023, 1023, width=32),
        ),
        st.lists(st.integers(1, 10**6), min_size=count, max_size=count),
    )
)


def exactly_summed(values: NDArray[np.float32], shares: list[float]) -> NDArray[np.float64]:
    total = ExactSum(values.shape[1])
    for row, share in zip(values, shares, strict=True):
        total.add(row, share=share)
    return total.value()


@MODEST
@given(updates, st.randoms(use_true_random=False))
def test_a_sums_bits_do_not_depend_on_the_order(drawn, shuffler) -> None:
    values, weights = drawn
    shares = [weight / sum(weights) for weight in weights]
    order = list(range(len(shares)))
    shuffler.shuffle(order)
    shuffled = exactly_summed(values[order], [shares[at] for at in order])
    assert bits(exactly_summed(values, shares)) == bits(shuffled)


@MODEST
@given(updates, st.integers(-12, 0))
def test_a_sum_is_close_to_the_exact_one(drawn, exponent: int) -> None:
    # Against rational arithmetic. Updates are below 1 here, as they are in practice; the bound
    # is 2^-50 for each term.
    values, weights = drawn
    values = (values / 1024 * 2.0**exponent).astype(np.float32)
    shares = [weight / sum(weights) for weight in weights]
    found = exactly_summed(values, shares)
    for column in range(values.shape[1]):
        exact = sum(
            Fraction(float(row[column])) * Fraction(share)
            for row, share in zip(values, shares, strict=True)
        )
        assert abs(Fraction(float(found[column])) - exact) <= Fraction(len(shares), 2**50)
    by_float = (values.astype(np.float64) * np.array(shares)[:, None]).sum(axis=0)
    assert np.abs(found - by_float).max() <= len(shares) * 2.0**-50


@MODEST
@given(updates)
def test_a_sum_of_large_values_is_as_close_as_its_docstring_says(drawn) -> None:
    values, weights = drawn
    shares = [weight / sum(weights) for weight in weights]
    found = exactly_summed(values, shares)
    for column in range(values.shape[1]):
        exact = sum(
            Fraction(float(row[column])) * Fraction(share)
            for row, share in zip(values, shares, strict=True)
        )
        # Each term is rounded to fp64, then to the grid; the whole once more when it is read.
        size = sum(abs(row[column]) * share for row, share in zip(values, shares, strict=True))
        bound = Fraction(float(size)) * Fraction(3, 2**53) + Fraction(len(shares), 2**53)
        assert abs(Fraction(float(found[column])) - exact) <= bound


@MODEST
@given(
    st.lists(st.lists(st.integers(1, 50), min_size=1, max_size=9), max_size=25),
    st.integers(1, 300),
)
def test_pieces_keep_to_the_budget_and_units_to_one_group(
    lengths: list[list[int]], max_tokens: int
) -> None:
    examples = [
        Example(tokens=(0,) * length, label=number)
        for number, length in enumerate(length for unit in lengths for length in unit)
    ]
    numbers = iter(range(len(examples)))
    batch = [tuple(next(numbers) for _ in unit) for unit in lengths]
    regrouped = []
    for group in clip_groups(batch, examples, max_tokens=max_tokens):
        shared: list[list[int]] = [[] for _ in range(group[0].units)]
        for piece in group:
            assert piece.units == len(shared)
            rows = len(piece.examples)
            longest = max(max(example.bucket) for example in piece.examples)
            assert rows * longest <= max_tokens or rows == 1
            assert [example.label for example in piece.examples] == list(piece.indices)
            for at, unit, share in zip(piece.indices, piece.unit_of, piece.shares, strict=True):
                shared[unit].append(at)
                assert share == 1 / len(next(whole for whole in batch if at in whole))
        lengths_of = {max(examples[at].bucket for at in unit) for unit in shared}
        assert len(lengths_of) == 1, "units of one padded length go together"
        regrouped += [tuple(unit) for unit in shared]
    assert sorted(regrouped) == sorted(batch)


splits = st.builds(
    Split,
    holdout=st.sampled_from(["test", "validation"]),
    test_fraction=st.floats(0, 0.99),
    validation_fraction=st.floats(0, 0.99),
)


@MODEST
@given(splits, st.lists(names, min_size=1, max_size=30), st.data())
def test_a_units_part_depends_on_itself_alone(
    split: Split, units: list[str], data: st.DataObject
) -> None:
    records = [Record(text=f"t{at}", label=0, unit=unit) for at, unit in enumerate(units)]
    training, held_out = split.training(records), split.held_out(records)
    assert not {r.unit for r in training} & {r.unit for r in held_out}
    # Taking one unit away moves nobody else.
    gone = data.draw(st.sampled_from(units))
    rest = [record for record in records if record.unit != gone]
    assert split.training(rest) == [record for record in training if record.unit != gone]
    assert split.held_out(rest) == [record for record in held_out if record.unit != gone]


def test_fractions_are_right_over_many_units() -> None:
    # Deterministic, so it passes for ever or never; a right hash would fail it with probability
    # below 1e-8: five counts, each within 6 standard deviations (2e-9 two-sided).
    count = 20_000
    units = [f"unit-{number}" for number in range(count)]

    def check(found: int, share: float) -> None:
        deviation = (count * share * (1 - share)) ** 0.5
        assert abs(found - count * share) < 6 * deviation, (found, share)

    test_only = Split(holdout="test", test_fraction=0.2, validation_fraction=0.125)
    both = Split(holdout="validation", test_fraction=0.2, validation_fraction=0.125)
    parts = [both.part_of(unit) for unit in units]
    check(sum(test_only.part_of(unit) == "test" for unit in units), 0.2)
    check(sum(test_only.part_of(unit) == "train" for unit in units), 0.8)
    check(parts.count("test"), 0.2)
    # Validation is drawn from the rest, independently of the test draw.
    check(parts.count("validation"), 0.8 * 0.125)
    check(parts.count("train"), 0.8 * 0.875)
    for unit in units[:1000]:
        assert (both.part_of(unit) == "test") == (test_only.part_of(unit) == "test")


def test_a_larger_test_fraction_only_takes_from_training() -> None:
    small = Split(holdout="test", test_fraction=0.1, validation_fraction=0.0)
    large = Split(holdout="test", test_fraction=0.3, validation_fraction=0.0)
    for number in range(2000):
        if small.part_of(f"u{number}") == "test":
            assert large.part_of(f"u{number}") == "test"


# Trees that look like federation files: known keys and near misses, with values of any kind.
SECTIONS = {
    name: tuple(getattr(field.annotation, "model_fields", {"x": None}))
    for name, field in FederationConfig.model_fields.items()
}
scalars = st.one_of(
    st.booleans(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(),
    st.text(st.characters(codec="utf-8"), max_size=12),
    st.sampled_from(["none", "dp-sgd", "record", "model", "fedit", "sgd", ""]),
    st.dates(),
    st.times(),
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3),
    max_leaves=6,
)


def tree_of(keys: tuple[str, ...]) -> st.SearchStrategy[dict[str, object]]:
    return st.dictionaries(st.sampled_from([*keys, "epsilonn", ""]), values, max_size=5)


sites = st.lists(tree_of(("name", "path", "declared_units")), max_size=3)
trees = st.fixed_dictionaries(
    {},
    optional={name: tree_of(keys) | values for name, keys in SECTIONS.items()}
    | {
        "data": st.fixed_dictionaries({"sites": sites | values}, optional={"text": values}),
        "privcy": values,
    },
)

VALID: dict[str, dict[str, object]] = {
    "federation": {"name": "f"},
    "model": {"path": "m"},
    "task": {"labels": ["a", "b"]},
    "privacy": {"epsilon": 1.0},
    "data": {"sites": [{"name": "s", "path": "s.csv"}]},
}
section_changes = st.sampled_from(sorted(SECTIONS)).flatmap(
    lambda name: st.tuples(st.just(name), tree_of(SECTIONS[name]))
)


def read_back(tree: dict[str, object]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "federation.toml"
        path.write_text(tomli_w.dumps(tree), encoding="utf-8")
        try:
            assert isinstance(read_federation(path), FederationConfig)
        except ConfigError as error:
            assert error.problems
            assert all(problem.strip() for problem in error.problems)


@settings(max_examples=120, deadline=None)
@given(trees)
def test_any_tree_is_a_config_or_a_config_error(tree: dict[str, object]) -> None:
    read_back(tree)


@settings(max_examples=120, deadline=None)
@given(section_changes)
def test_any_change_to_a_valid_tree_is_a_config_or_a_config_error(
    change: tuple[str, dict[str, object]],
) -> None:
    name, section = change
    read_back(VALID | {name: VALID.get(name, {}) | section})
