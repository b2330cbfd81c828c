"""A whole federation of tiny sites: what it learns, leaves and remembers."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from flwr.clientapp import ClientApp
from numpy.typing import NDArray

from fedloom.client.app import make_client_app
from fedloom.client.ledger.ledger import Ledger
from fedloom.client.ledger.spending import Spent
from fedloom.client.site.directory import SiteDirectory
from fedloom.client.training.trainer import Trainer
from fedloom.server.run.checkpoint import read_checkpoint
from fedloom.server.run.folder import RunFolder
from fedloom.server.run.journal import Journal
from fedloom.shared.adapter import Adapter
from fedloom.shared.config.federation import read_federation
from fedloom.shared.errors import CheckpointError, PlanError, RunFolderError
from fedloom.shared.methods import trained_layout
from fedloom.simulation.executors.serial import SerialExecutor
from fedloom.simulation.federation import RunOptions, run_federation, worker_pool
from fedloom.simulation.prepare import Prepared, prepare
from fedloom.simulation.site_app import in_process
from tests.statistical.test_accounting import pld_epsilon
from tests.support.ledgers import sealed_updates
from tests.support.tiny import write_federation

# Steps enough, in either phase, for hidden states to be worth keeping.
SWITCHES = {
    "steps": 4,
    "training_more": 'head_rounds = 1\nhead_local_steps = 8\nschedule = "cosine"\nwarmup = 0.2',
    "privacy": ('noise_multiplier = 0.8\ndelta = 1e-4\nnoise_seed = 7\nclipping = "automatic"'),
    "more": "[lora]\nlast_layers = 1\n[aggregation]\nserver_momentum = 0.5\n",
}


@pytest.fixture(scope="module", params=["plain", "switches"])
def prepared(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    """A federation with every default, and one with all that a plan can ask for beside."""
    folder = tmp_path_factory.mktemp("federation")
    more = SWITCHES if request.param == "switches" else {}
    return prepare(read_federation(write_federation(folder, rounds=3, **more)))


def honest() -> ClientApp:
    return make_client_app(in_process(SiteDirectory()))


def run(prepared: Prepared, path: Path, *, resume: bool = False) -> Adapter:
    options = RunOptions(resume=resume)
    return run_federation(prepared, RunFolder(path), SerialExecutor(honest()), options)


@pytest.fixture(scope="module")
def finished(prepared: Prepared, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    path = tmp_path_factory.mktemp("finished") / "run"
    run(prepared, path)
    return RunFolder(path)


def final_bytes(folder: RunFolder) -> bytes:
    return (folder.adapter / "adapter_model.safetensors").read_bytes()


def test_workers_and_one_process_give_the_same_adapter_byte_for_byte(
    prepared: Prepared, finished: RunFolder, tmp_path: Path
) -> None:
    """Catches any dependence on the order of replies, on threads or on shared generators."""
    folder = RunFolder(tmp_path / "run")
    with worker_pool(sites=3, workers=2) as executor:
        run_federation(prepared, folder, executor)
    assert final_bytes(folder) == final_bytes(finished)


def test_unseeded_runs_differ(tmp_path: Path) -> None:
    privacy = "epsilon = 8.0\ndelta = 1e-4"
    path = write_federation(tmp_path, rounds=1, privacy=privacy)
    unseeded = prepare(read_federation(path))
    assert run(unseeded, tmp_path / "a").sha256 != run(unseeded, tmp_path / "b").sha256


def test_training_learns(tmp_path: Path) -> None:
    """Without noise the federation solves the toy task on held-out records."""
    from fedloom.server.evaluator.bench import plan_bench
    from fedloom.server.evaluator.corpus import Corpus
    from fedloom.server.evaluator.evaluate import Evaluator

    more = (
        '[lora]\nrank = 4\ntargets = ["query", "key", "value", "dense"]\n'
        "[aggregation]\nmethod = 'fedit'\n"
    )
    path = write_federation(
        tmp_path,
        rows=300,
        rounds=8,
        steps=80,
        rate=0.005,
        privacy='mode = "none"\nnoise_seed = 1',
        more=more,
    )
    plain = prepare(read_federation(path))
    final = run(plain, tmp_path / "run")
    predictor = plan_bench(plain.plan, plain.model, batch_size=32)
    scores = Evaluator(predictor, Corpus(tests=plain.tests), resamples=100).adapter(final)
    assert scores["joint"].accuracy.low > 0.75, "the majority has about 0.54"


def check_budget_adds_up(prepared: Prepared, folder: RunFolder) -> None:
    """Each round's epsilon is that of all steps so far, by an accountant of another make."""
    plan, steps = prepared.plan, 0
    for entry in Journal(folder.rounds).entries():
        head = entry.round <= plan.training.head_rounds
        steps += (head and plan.training.head_local_steps) or plan.training.local_steps
        for told, site in zip(entry.sites, plan.sites, strict=True):
            from fedloom.shared.privacy.accounting import Mechanism

            mechanism = Mechanism(
                noise_multiplier=site.noise_multiplier,
                sample_rate=site.sample_rate,
                steps=steps,
            )
            expected = pld_epsilon([mechanism], plan.privacy.delta)
            assert told.epsilon_spent == pytest.approx(expected, rel=0.02), "epsilon adds up"


def test_epsilon_accumulates_over_rounds(prepared: Prepared, finished: RunFolder) -> None:
    check_budget_adds_up(prepared, finished)
    last = Journal(finished.rounds).entries()[-1]
    for told, site in zip(last.sites, prepared.plan.sites, strict=True):
        assert told.epsilon_spent == pytest.approx(site.epsilon)


def test_control_an_accountant_rebuilt_each_round_is_caught(
    prepared: Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = Ledger.spent

    def forgetful(self: Ledger, *, but_task: str | None = None) -> Spent:
        found = whole(self, but_task=but_task)
        return replace(found, history=found.history[-1:])

    monkeypatch.setattr(Ledger, "spent", forgetful)
    run(prepared, tmp_path / "run")
    with pytest.raises(AssertionError, match="epsilon adds up"):
        check_budget_adds_up(prepared, RunFolder(tmp_path / "run"))


def test_a_resume_from_any_round_gives_the_same_adapter_and_charges_once(
    prepared: Prepared, finished: RunFolder, tmp_path: Path
) -> None:
    for durable in (0, 1, 2):
        path = tmp_path / f"run{durable}"
        run(prepared, path)
        folder = RunFolder(path)
        for number in range(durable + 1, 4):
            (folder.checkpoints / f"round-{number:04d}.ckpt").unlink()
        run(prepared, path, resume=True)
        assert final_bytes(folder) == final_bytes(finished)
        assert [entry.round for entry in Journal(folder.rounds).entries()] == [1, 2, 3]
        for site in prepared.plan.sites:
            entries = Ledger(path / "sites" / site.name / "state").entries()
            charged = [entry.charge.round for entry in entries if entry.event == "reserved"]
            assert charged == [1, 2, 3], "each round is charged once, whatever was repeated"


def test_a_truncated_newest_checkpoint_costs_one_repeated_round_and_no_budget(
    prepared: Prepared, finished: RunFolder, tmp_path: Path
) -> None:
    path = tmp_path / "run"
    run(prepared, path)
    newest = path / "checkpoints" / "round-0003.ckpt"
    newest.write_bytes(newest.read_bytes()[:100])
    run(prepared, path, resume=True)
    assert final_bytes(RunFolder(path)) == final_bytes(finished)
    steps = prepared.plan.site("site0").steps
    assert Ledger(path / "sites/site0/state").spent().steps == steps


def test_all_checkpoints_damaged_is_one_clear_error(prepared: Prepared, tmp_path: Path) -> None:
    path = tmp_path / "run"
    run(prepared, path)
    for checkpoint in (path / "checkpoints").glob("*.ckpt"):
        checkpoint.write_bytes(b"damaged")
    with pytest.raises(CheckpointError, match="truncated or altered"):
        run(prepared, path, resume=True)


def test_an_existing_run_folder_is_never_overwritten(
    prepared: Prepared, finished: RunFolder
) -> None:
    before = final_bytes(finished)
    with pytest.raises(RunFolderError, match="exists already"):
        run(prepared, finished.path)
    assert final_bytes(finished) == before


def test_a_changed_config_cannot_resume(finished: RunFolder, tmp_path: Path) -> None:
    other = prepare(read_federation(write_federation(tmp_path, rounds=2)))
    with pytest.raises(
        PlanError, match=r"sites, .*rounds\.total.* changed|rounds\.total.* changed"
    ):
        run(other, finished.path, resume=True)


def test_every_output_of_a_seeded_run_says_that_it_is_not_private(finished: RunFolder) -> None:
    card = json.loads((finished.adapter / "fedloom.json").read_text())
    assert "NOT PRIVATE" in card["privacy"]
    assert "NOT PRIVATE" in (finished.adapter / "README.md").read_text()


def test_nothing_that_left_a_site_names_this_machine(finished: RunFolder) -> None:
    config = (finished.adapter / "adapter_config.json").read_text()
    assert (
        str(finished.path.parent) not in config
        and "/" not in json.loads(config)["base_model_name_or_path"]
    )


@pytest.mark.parametrize("weights", ["uniform", "declared"])
def test_the_adapter_is_the_weighted_mean_of_what_the_sites_sealed(
    tmp_path: Path, weights: str
) -> None:
    """From the sites' own sealed files to the server's checkpoint, computed another way."""
    path = write_federation(tmp_path, rounds=1, more=f'[aggregation]\nweights = "{weights}"\n')
    prepared = prepare(read_federation(path))
    final = run(prepared, tmp_path / "run")
    plan = prepared.plan
    start = read_checkpoint(tmp_path / "run" / "checkpoints", 0, plan.sha256)
    part = trained_layout(plan.aggregation.method, start.layout)
    updates, sizes = [], []
    for site in plan.sites:
        updates.append(sealed_updates(tmp_path / "run/sites" / site.name / "state")[1])
        sizes.append(site.declared_units)
    assert len(set(sizes)) > 1
    mean = np.average(updates, axis=0, weights=sizes if weights == "declared" else None)
    np.testing.assert_allclose(final.select(part), start.select(part) + mean, atol=1e-6)


def test_head_rounds_send_the_head_alone_and_leave_lora_at_its_start(tmp_path: Path) -> None:
    path = write_federation(tmp_path, rounds=3, **SWITCHES)
    prepared = prepare(read_federation(path))
    run(prepared, tmp_path / "run")
    plan, folder = prepared.plan, RunFolder(tmp_path / "run")
    start, headed, tuned = (
        read_checkpoint(folder.checkpoints, number, plan.sha256).state() for number in (0, 1, 2)
    )
    lora = {name for name in start if ".lora_" in name}
    head = set(start) - lora
    assert head and all(np.array_equal(start[name], headed[name]) for name in lora)
    assert all(not np.array_equal(start[name], headed[name]) for name in head)
    assert any(not np.array_equal(headed[name], tuned[name]) for name in lora)
    numbers = sum(start[name].size for name in head)
    sent = [[site.bytes_up for site in entry.sites] for entry in Journal(folder.rounds).entries()]
    assert sent[0] == [4 * numbers] * 3 and min(sent[1]) > 4 * numbers


def test_hidden_states_of_both_phases_are_used_and_dropped_at_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[set[str]] = []
    honest = Trainer.train

    def spy(self: Trainer, *given: object, **more: object) -> NDArray[np.float32]:
        assert more["hidden"] is not None
        seen.append({path.name for path in tmp_path.glob("run/sites/*/state/cache/hidden-*")})
        return honest(self, *given, **more)

    monkeypatch.setattr(Trainer, "train", spy)
    prepared = prepare(read_federation(write_federation(tmp_path, rounds=3, **SWITCHES)))
    run(prepared, tmp_path / "run")
    assert len(seen[2]) == 3 and len(seen[5]) == 3, "one a site"
    assert not seen[2] & seen[5], "those of the other phase are gone"
    assert not list(tmp_path.glob("run/sites/*/state/cache/hidden-*"))


def test_a_damaged_checkpoint_that_momentum_needs_costs_no_budget(
    prepared: Prepared, finished: RunFolder, tmp_path: Path
) -> None:
    """The newest is whole, but without the one before it the velocity would be lost."""
    path = tmp_path / "run"
    run(prepared, path)
    (path / "checkpoints/round-0003.ckpt").unlink()
    (path / "checkpoints/round-0001.ckpt").write_bytes(b"damaged")
    run(prepared, path, resume=True)
    assert final_bytes(RunFolder(path)) == final_bytes(finished)
    steps = prepared.plan.site("site0").steps
    assert Ledger(path / "sites/site0/state").spent().steps == steps


def test_the_server_moves_on_by_a_part_of_its_last_movement(tmp_path: Path) -> None:
    """From the sites' sealed files and the checkpoints, computed another way."""
    path = write_federation(tmp_path, more="[aggregation]\nserver_momentum = 0.5\n")
    prepared = prepare(read_federation(path))
    run(prepared, tmp_path / "run")
    plan = prepared.plan
    start, first, second = (
        read_checkpoint(tmp_path / "run/checkpoints", number, plan.sha256) for number in range(3)
    )
    part = trained_layout(plan.aggregation.method, start.layout)
    start, first, second = (adapter.select(part) for adapter in (start, first, second))
    means = {1: np.zeros(part.size), 2: np.zeros(part.size)}
    for state in (tmp_path / "run/sites").glob("*/state"):
        sealed = sealed_updates(state)
        for number in means:
            means[number] += sealed[number] / 3
    np.testing.assert_allclose(first - start, means[1], atol=1e-6)
    np.testing.assert_allclose(second - first, means[2] + 0.5 * means[1], atol=1e-6)
