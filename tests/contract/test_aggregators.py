"""Every aggregator: against a dense reference, in any order, in memory that does not grow."""

import tracemalloc

import numpy as np
import pytest
from numpy.typing import NDArray

from fedloom.server.aggregation.momentum import with_momentum
from fedloom.server.aggregation.registry import AGGREGATORS
from fedloom.shared.adapter import Adapter, AdapterLayout
from fedloom.shared.errors import UpdateRejected
from fedloom.shared.methods import HEAD_ONLY, trained_layout

METHODS = sorted(AGGREGATORS)
OUT, IN, RANK, SITES = 6, 5, 2, 4
A, B, HEAD = "layer.lora_A.weight", "layer.lora_B.weight", "classifier.weight"


def adapter(seed: int = 0) -> Adapter:
    draw = np.random.default_rng(seed).standard_normal
    state = {A: draw((RANK, IN)), B: draw((OUT, RANK)), HEAD: draw((2, OUT))}
    return Adapter.from_state({name: values.astype(np.float32) for name, values in state.items()})


def deltas(part: AdapterLayout, count: int = SITES) -> list[NDArray[np.float32]]:
    generator = np.random.default_rng(1)
    return [generator.standard_normal(part.size).astype(np.float32) for _ in range(count)]


def aggregate(method: str, order: list[int], weights: list[float]) -> Adapter:
    start = adapter()
    part = trained_layout(method, start.layout)
    updates = deltas(part)
    aggregator = AGGREGATORS[method]()
    aggregator.init(start, part, total_weight=sum(weights))
    for at in order:
        aggregator.accumulate(updates[at], weight=weights[at])
    return aggregator.finish()


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("weights", [[1.0] * SITES, [3.0, 1.0, 5.0, 2.0]])
@pytest.mark.parametrize("missing", [0, 1])
def test_against_a_dense_reference(method: str, weights: list[float], missing: int) -> None:
    """Each site's whole tensors are averaged densely; frozen tensors stay to the bit."""
    order = list(range(SITES - missing))
    found = aggregate(method, order, weights).state()
    start = adapter()
    part = trained_layout(method, start.layout)
    before = start.state()
    for spec, at in part.slices():
        locals_ = [before[spec.name] + deltas(part)[k][at].reshape(spec.shape) for k in order]
        mean = np.average(locals_, axis=0, weights=[weights[k] for k in order])
        np.testing.assert_allclose(found[spec.name], mean, atol=1e-6)
    for name in start.layout.names - part.names:
        assert np.array_equal(found[name], before[name])


def test_ffa_is_exact_in_the_product_and_fedit_is_not() -> None:
    """The reason for FFA: the mean of the products B_k A equals the product of the means."""

    def products(method: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        start = adapter()
        part = trained_layout(method, start.layout)
        sites = [start.plus(part, d.astype(np.float64)).state() for d in deltas(part)]
        mean = np.mean([site[B] @ site[A] for site in sites], axis=0)
        found = aggregate(method, list(range(SITES)), [1.0] * SITES).state()
        return mean, found[B] @ found[A]

    dense, woven = products("ffa-lora")
    np.testing.assert_allclose(woven, dense, atol=1e-5)
    dense, woven = products("fedit")
    assert np.abs(woven - dense).max() > 0.1


@pytest.mark.parametrize("method", METHODS)
def test_the_order_of_replies_does_not_change_a_bit(method: str) -> None:
    weights = [3.0, 1.0, 5.0, 2.0]
    first = aggregate(method, [0, 1, 2, 3], weights)
    for order in ([3, 2, 1, 0], [2, 0, 3, 1]):
        assert aggregate(method, order, weights).sha256 == first.sha256


@pytest.mark.parametrize("method", METHODS)
def test_a_round_leaves_nothing_behind_for_the_next(method: str) -> None:
    start = adapter()
    part = trained_layout(method, start.layout)
    aggregator = AGGREGATORS[method]()
    results = []
    for _ in range(2):
        aggregator.init(start, part, total_weight=1.0)
        aggregator.accumulate(deltas(part)[0], weight=1.0)
        results.append(aggregator.finish().sha256)
    assert results[0] == results[1]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e4])
def test_values_that_could_spoil_the_sum_are_refused(method: str, bad: float) -> None:
    start = adapter()
    part = trained_layout(method, start.layout)
    aggregator = AGGREGATORS[method]()
    aggregator.init(start, part, total_weight=2.0)
    aggregator.accumulate(deltas(part)[0], weight=1.0)
    spoilt = deltas(part)[1]
    spoilt[2] = bad
    with pytest.raises(UpdateRejected):
        aggregator.accumulate(spoilt, weight=1.0)
    expected = start.plus(part, deltas(part)[0].astype(np.float64))
    np.testing.assert_allclose(aggregator.finish().flat, expected.flat, atol=1e-6)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_with_momentum_against_a_dense_velocity(method: str, momentum: float) -> None:
    """FedAvgM as the paper writes it, the head alone in the first two rounds."""
    start = previous = current = adapter()
    x = {name: values.astype(np.float64) for name, values in start.state().items()}
    velocity = {name: np.zeros_like(values) for name, values in x.items()}
    for number in range(5):
        part = trained_layout(HEAD_ONLY if number < 2 else method, start.layout)
        delta = np.random.default_rng(number).standard_normal(part.size).astype(np.float32)
        aggregator = AGGREGATORS[method]()
        aggregator.init(current, part, total_weight=1.0)
        aggregator.accumulate(delta, weight=1.0)
        moved = with_momentum(
            aggregator.finish(), trained=part, current=current, previous=previous,
            momentum=momentum,
        )  # fmt: skip
        previous, current = current, moved
        for spec, at in part.slices():
            mean = delta[at].reshape(spec.shape)
            velocity[spec.name] = momentum * velocity[spec.name] + mean
            x[spec.name] = x[spec.name] + velocity[spec.name]
    for name, values in current.state().items():
        np.testing.assert_allclose(values, x[name], atol=1e-5)


@pytest.mark.parametrize("method", METHODS)
def test_finish_without_updates_is_an_error(method: str) -> None:
    start = adapter()
    aggregator = AGGREGATORS[method]()
    aggregator.init(start, trained_layout(method, start.layout), total_weight=1.0)
    with pytest.raises(ValueError, match="without any update"):
        aggregator.finish()


@pytest.mark.parametrize("method", METHODS)
def test_memory_does_not_grow_with_sites(method: str) -> None:
    state = {HEAD: np.zeros(200_000, dtype=np.float32)}
    start = Adapter.from_state(state)
    part = trained_layout(method, start.layout)
    peaks = []
    for sites in (2, 40):
        aggregator = AGGREGATORS[method]()
        tracemalloc.start()
        aggregator.init(start, part, total_weight=float(sites))
        for seed in range(sites):
            aggregator.accumulate(np.full(part.size, seed, np.float32), weight=1.0)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.05 * peaks[0]
