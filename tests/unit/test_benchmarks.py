"""The benchmarks compare what they say: all competitors run, and compute the same step."""

import json
import socket
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from flwr.app import Array, ArrayRecord, Context, Message, RecordDict
from peft import get_peft_model_state_dict
from transformers import LlamaConfig, LlamaForCausalLM

from benchmarks.apart import measure_apart
from benchmarks.common import ratios
from benchmarks.competitors import BASELINE, CLIPPING, COMPETITORS, Terms
from benchmarks.deployed import FLAT, TENSORS
from benchmarks.deployed_fedloom import stages
from benchmarks.deployed_rounds import Round, rounds_of, summary
from benchmarks.forwarder import forwarding
from benchmarks.peak import WHOLE, parts_of
from benchmarks.plain.plain import client, tuned
from benchmarks.rounds import WAYS, Site, fedloom_round, hooks_round
from benchmarks.workloads import Workload, causal, encoder
from fedloom.shared.model.lora import attach_lora, live_parameters
from tests.support.deployed import free_ports
from tests.support.tiny import write_tiny_model
from tests.support.training import make_plan, records, site_plan

# One step of rate 1 on warm parameters shows the gradient itself.
SHOWN = Terms(optimizer="sgd", learning_rate=1.0, noise_multiplier=0.0, clip_norm=0.05, start=0.3)


@pytest.fixture(params=["encoder", "causal"])
def workload(request: pytest.FixtureRequest, tiny_model: Path, tmp_path: Path) -> Workload:
    if request.param == "encoder":
        targets = ("query", "key", "value", "dense")
        return encoder(tiny_model, targets=targets, batch=5, tokens=16)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=50, hidden_size=16, intermediate_size=24, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, tie_word_embeddings=True,
    )  # fmt: skip
    LlamaForCausalLM(config).save_pretrained(tmp_path)
    return causal(tmp_path, targets=("q_proj", "v_proj", "down_proj"), batch=5, tokens=16)


def moved(workload: Workload, name: str) -> np.ndarray:
    """Minus what the competitor's one step changes, flat."""
    competitor = COMPETITORS[name](workload, SHOWN)
    before = {at: values.detach().clone() for at, values in competitor.trained.items()}
    competitor.step()
    changes = [before[at] - competitor.trained[at].detach() for at in sorted(before)]
    return torch.cat([change.flatten() for change in changes]).double().numpy()


def clipped_mean_by_hand(workload: Workload) -> np.ndarray:
    """From plain PEFT's step on one row at a time: no Opacus, no batch."""
    total = np.zeros(0)
    for example in workload.examples:
        gradient = moved(Workload(**{**vars(workload), "examples": (example,)}), BASELINE)
        clipped = gradient * min(1.0, SHOWN.clip_norm / np.linalg.norm(gradient))
        total = clipped if not total.size else total + clipped
    return total / len(workload.examples)


def test_all_that_clip_give_the_clipped_sum_of_single_rows(workload: Workload) -> None:
    expected = clipped_mean_by_hand(workload)
    assert np.linalg.norm(expected) < 0.99 * np.linalg.norm(moved(workload, BASELINE))
    for name in CLIPPING:
        found = moved(workload, name)
        assert np.linalg.norm(found - expected) < 1e-3 * np.linalg.norm(expected), name


def test_without_privacy_ours_is_pefts_step(workload: Workload) -> None:
    np.testing.assert_allclose(
        moved(workload, "ours, not private"), moved(workload, BASELINE), atol=1e-5
    )


def test_every_way_through_a_round_gives_one_update(tmp_path: Path) -> None:
    """A switch that trained on other records, or skipped some, would make its figure a lie."""
    model = write_tiny_model(tmp_path, layers=3)
    plan = make_plan(model, steps=2, batch=30, clip_norm=0.2, site=site_plan(noise=1e-9, rate=0.5))
    lora = plan.lora.model_copy(update={"last_layers": 1})
    site = Site(
        plan=plan.model_copy(update={"lora": lora}),
        name="north",
        records=tuple(records(60)),
        model=model,
    )
    expected = hooks_round(site)()
    assert 30 < site.drawn() < 90 and np.linalg.norm(expected) > 0
    for name, switches in WAYS.items():
        found = fedloom_round(site, switches)()
        np.testing.assert_allclose(found, expected, atol=1e-5, err_msg=name)


def test_every_part_of_a_step_is_timed(tiny_model: Path) -> None:
    workload = encoder(tiny_model, targets=("query", "value"), batch=2, tokens=16)
    parts = parts_of(workload, repeats=1)
    assert parts[WHOLE].seconds > 0
    assert parts[WHOLE].operations == sum(
        part.operations for name, part in parts.items() if name != WHOLE
    )


def sleeps(seconds: float) -> Callable[[], Callable[[], None]]:
    return partial(partial, time.sleep, seconds)


def test_works_in_processes_of_their_own_take_their_turns() -> None:
    costs = measure_apart({"one": sleeps(0.0), "other": sleeps(0.0)}, repeats=2)
    assert {name: len(times) for name, times in costs.times.items()} == {"one": 2, "other": 2}
    assert min(costs.megabytes.values()) >= 0


def test_a_work_that_cannot_be_set_up_ends_the_benchmark() -> None:
    with pytest.raises(SystemExit, match="ended early"):
        measure_apart({"broken": partial(time.sleep, "no number")}, repeats=1)


def test_ratios_are_taken_within_a_turn() -> None:
    """A machine that slows down for a turn slows both, and must not move the ratio."""
    times = {"a": [2.0, 20.0, 2.2], "b": [1.0, 10.0, 1.0]}
    assert ratios(times, to="b") == {"a": 2.0, "b": 1.0}


def test_the_plain_app_trains_the_adapter_that_fedloom_trains(tiny_model: Path) -> None:
    targets = ("query", "key", "value", "dense")
    workload = encoder(tiny_model, targets=targets, batch=2, tokens=16)
    ours = live_parameters(attach_lora(workload.load(), workload.plan.lora))
    config = {"model": str(tiny_model), "targets": ",".join(targets), "rank": 8}
    theirs = get_peft_model_state_dict(tuned(config))
    assert {name: at.shape for name, at in theirs.items()} == {
        name: at.shape for name, at in ours.items()
    }


def test_a_carried_tensor_is_sent_each_time() -> None:
    """Flower sends equal arrays once: a fresh adapter is mostly zeros, and would cost nothing."""
    zeros = ArrayRecord({name: Array(np.zeros(4, np.float32)) for name in ("a", "b")})
    asked = Message(RecordDict({"arrays": zeros}), dst_node_id=2, message_type="train")
    context = Context(1, 2, {}, RecordDict(), {"steps": 0})
    sent = [
        array.data
        for _ in range(2)
        for array in client(asked, context).content.array_records["arrays"].values()
    ]
    assert len(set(sent)) == 4


def test_the_forwarder_counts_each_byte_of_each_direction() -> None:
    port = free_ports(2)
    with socket.create_server(("127.0.0.1", port)) as server, forwarding(port + 1, to=port) as wire:
        with socket.create_connection(("127.0.0.1", port + 1)) as site:
            site.sendall(b"u" * 100_000)
            accepted, _ = server.accept()
            with accepted:
                assert len(accepted.recv(100_000, socket.MSG_WAITALL)) == 100_000
                accepted.sendall(b"d" * 7)
                assert site.recv(7, socket.MSG_WAITALL) == b"d" * 7
        assert wire.seen() == (100_000, 7)


def test_a_round_is_from_end_to_end_and_its_training_is_the_slower_sites() -> None:
    marks = [(10.0, 5, 7), (12.0, 105, 207)]
    found = rounds_of(marks, {1: [9.0, 9.0], 2: [0.5, 1.5]})
    assert found == [Round(seconds=2.0, training=1.5, up=100, down=200)]
    assert found[0].beyond == 0.5


def test_the_trainers_log_tells_how_long_a_round_trained() -> None:
    """Of the latest run alone: rounds have the same numbers in each."""

    def line(second: int, stage: str) -> str:
        message = f"round 3 of bench: {stage}"
        return json.dumps(
            {"time": f"1970-01-01T00:00:{second:02}.500+00:00", "round": 3, "message": message}
        )

    lines = [
        line(1, "charged"), line(9, "sealed"), "no json", "{}",
        line(20, "checked"), line(21, "charged"), line(24, "sealed"), line(25, "answered"),
    ]  # fmt: skip
    assert stages(lines, since=15.0) == {3: 3.0}


def test_what_lies_beyond_training_is_compared_within_a_turn() -> None:
    def turn(*seconds: float) -> list[Round]:
        return [Round(seconds=at + 1.0, training=1.0, up=1, down=1) for at in seconds]

    found = {FLAT: [turn(1.0, 2.0, 3.0), turn(20.0)], TENSORS: [turn(4.0), turn(40.0)]}
    summed = summary(found, to=TENSORS)[FLAT]
    assert (summed["rounds"], summed["beyond_ratio"], summed["bytes_ratio"]) == (4, 0.5, 1.0)
    assert (summed["least_beyond"], summed["beyond"], summed["most_beyond"]) == (1.0, 2.5, 20.0)
