"""Canaries: dealt fairly, planted where and only where a coin says so, found by their gradients."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from scipy import stats

from fedloom.cli.commands.audit import _say, command
from fedloom.client.training.trainer import Trainer
from fedloom.client.training.units import TrainingUnits
from fedloom.server.evaluator.bench import plan_bench
from fedloom.server.evaluator.findings import AuditFindings
from fedloom.server.evaluator.subject import Candidate
from fedloom.server.initial import initial_adapter
from fedloom.shared.config.federation import read_federation
from fedloom.shared.config.sections import TaskSection
from fedloom.shared.data.records import read_records
from fedloom.shared.data.split import Split
from fedloom.shared.errors import EvaluationError, PlanError
from fedloom.simulation.auditing.canaries import Dealt, Kind, deal
from fedloom.simulation.auditing.gradients import Sketch, gradients
from fedloom.simulation.auditing.kept import FILE
from fedloom.simulation.auditing.planting import planted
from fedloom.simulation.auditing.scores import centred
from fedloom.simulation.prepare import Prepared, prepare, source_of, split_of
from tests.support.audited import audited_federation, figures_of, run_audit
from tests.support.language import write_tiny_llama
from tests.support.tiny import sentences, write_csv
from tests.support.training import fixed_stream

SPLIT = Split(holdout="test", test_fraction=0.2, validation_fraction=0.125)
WORDS = tuple(f"{a}{b}{c}" for a in "bdfg" for b in "aeio" for c in "lmnr")
KIND = Kind(task=TaskSection(labels=("no", "yes")), unit="record", split=SPLIT)


def dealt(count: int = 400, *, kind: Kind = KIND, seed: int = 0) -> Dealt:
    return deal(count, kind, WORDS, sites=("north", "south"), seed=seed)


def test_canaries_are_new_units_that_train() -> None:
    found = dealt()
    assert len({canary.text for canary in found.canaries}) == 400
    assert all(SPLIT.part_of(canary.unit) == "train" for canary in found.canaries)
    assert all(canary.unit == canary.text for canary in found.canaries), "as a record is keyed"
    assert found.homes.count("north") == found.homes.count("south") == 200
    by_person = dealt(kind=replace(KIND, unit="author"))
    assert len({canary.unit for canary in by_person.canaries}) == 400


def test_coins_are_fair_and_know_nothing_of_texts_and_labels() -> None:
    """Fixed seeds; over seeds, each fails by chance with a probability of 1e-6."""
    many = [dealt(seed=seed) for seed in range(20)]
    coins = np.concatenate([one.inside for one in many])
    labels = np.concatenate([[canary.label for canary in one.canaries] for one in many])
    assert stats.binomtest(int(coins.sum()), coins.size).pvalue > 1e-6
    table = np.array([[(coins & (labels == at)).sum(), (~coins & (labels == at)).sum()]
                      for at in (0, 1)])  # fmt: skip
    assert stats.chi2_contingency(table).pvalue > 1e-6
    again = dealt(seed=3)
    assert again.canaries == many[3].canaries and np.array_equal(again.inside, many[3].inside)


def test_a_vocabulary_that_is_too_small_is_one_clear_line() -> None:
    with pytest.raises(EvaluationError, match="2 known words make no more than"):
        deal(50, KIND, ("one", "two"), sites=("north",), seed=0)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    folder = tmp_path_factory.mktemp("federation")
    return audited_federation(folder, sites=2, width=32, rows=60, batch=20, rounds=1, steps=2)


def for_sites(count: int, *, seed: int = 0, sites: tuple[str, ...] = ("site0",)) -> Dealt:
    kind = replace(KIND, task=TaskSection(labels=("negative", "positive")))
    return deal(count, kind, WORDS, sites=sites, seed=seed)


def test_just_the_canaries_whose_coin_says_so_are_among_the_sites_records(
    prepared: Prepared, tmp_path: Path
) -> None:
    before = [site.path.read_bytes() for site in prepared.config.data.sites]
    given = for_sites(40)
    with_them = planted(prepared, given, tmp_path)
    assert [site.path.read_bytes() for site in prepared.config.data.sites] == before
    first, second = with_them.config.data.sites
    assert second == prepared.config.data.sites[1], "no canary is for it"
    labels = prepared.config.task.labels
    own = read_records(source_of(prepared.config, prepared.config.data.sites[0]), labels=labels)
    found = read_records(source_of(with_them.config, first), labels=labels)
    inside = [one for one, put in zip(given.canaries, given.inside, strict=True) if put]
    assert found == own + inside
    split = split_of(with_them.config)
    assert len(split.training(found)) == len(split.training(own)) + len(inside)
    assert first.path.stat().st_mode & 0o777 == 0o600


def test_the_plan_does_not_depend_on_the_coins(prepared: Prepared, tmp_path: Path) -> None:
    plans = set()
    for seed in range(4):
        with_them = planted(prepared, for_sites(41, seed=seed), tmp_path / str(seed))
        plans.add(with_them.plan.sha256)
    assert len(plans) == 1
    size, before = (one.plan.site("site0").declared_units for one in (with_them, prepared))
    assert size == before + 20
    assert with_them.plan.site("site1") == prepared.plan.site("site1")


def test_columns_units_and_chats_read_back_as_they_were(tmp_path: Path) -> None:
    """A site whose records are chats of people, and a unit column."""
    write_tiny_llama(tmp_path / "model")
    rows = [
        {"chat": [{"role": "user", "content": f"the film n{at}"},
                  {"role": "assistant", "content": "good"}], "who": f"p{at // 2}"}
        for at in range(60)
    ]  # fmt: skip
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "federation.toml").write_text(
        '[federation]\nname = "chats"\n[model]\npath = "model"\nmax_length = 32\n'
        '[task]\nkind = "causal-lm"\n[privacy]\nnoise_multiplier = 1.0\ndelta = 1e-4\n'
        'unit = "who"\n[training]\nlocal_steps = 1\nexpected_batch_size = 5\nprecision = "fp32"\n'
        '[rounds]\ntotal = 1\n[data]\nmessages = "chat"\n'
        '[[data.sites]]\nname = "a"\npath = "a.jsonl"\n'
    )
    prepared = prepare(read_federation(tmp_path / "federation.toml"))
    kind = Kind(task=prepared.plan.task, unit="who", split=split_of(prepared.config))
    given = deal(20, kind, WORDS, sites=("a",), seed=0)
    with_them = planted(prepared, given, tmp_path / "scratch")
    (site,) = with_them.config.data.sites
    found = read_records(source_of(with_them.config, site), labels=())
    assert found[60:] == given.put_in("a")
    # And the whole audit of a language model whose answers are free.
    findings = run_audit(prepared, tmp_path / "run", canaries=20)
    figures = figures_of(findings)
    assert figures["epsilon_lower_bound"] <= figures["epsilon_claimed"]


def with_groups(folder: Path, weights: str) -> Path:
    """Two sites whose records are of sex f or m, or of none; an arm beside weights them."""
    audited_federation(folder, sites=2, width=32, rows=60, batch=20, rounds=1, steps=2)
    for number in range(2):
        rows = sentences(60, seed=number)
        of = [row | {"sex": ("f", "m", "")[at % 3]} for at, row in enumerate(rows)]
        write_csv(folder / f"site{number}.csv", of)
    path = folder / "federation.toml"
    arm = f'[evaluation.mitigation]\ngroup_column = "sex"\nweights = {{ {weights} }}\n'
    text = path.read_text() + arm
    path.write_text(text.replace("[privacy]\n", '[privacy]\nclipping = "flat"\n'))
    return path


def test_an_audit_of_a_federation_with_groups_keeps_them(tmp_path: Path) -> None:
    """Catches rows that lose their group's column, so that the site cannot read them."""
    prepared = prepare(read_federation(with_groups(tmp_path, "f = 2.0")))
    assert prepared.groups == ("f", "m")
    kind = Kind(task=prepared.plan.task, unit="record", split=SPLIT, groups=prepared.groups)
    given = deal(41, kind, WORDS, sites=("site0", "site1"), seed=0)
    for site in given.sites:
        of = [one.group for one, home in zip(given.canaries, given.homes, strict=True)
              if home == site]  # fmt: skip
        assert of.count("f") in (10, 11) and of.count("m") == 10
    with_them = planted(prepared, given, tmp_path / "scratch")
    labels = prepared.config.task.labels
    for before, after in zip(prepared.config.data.sites, with_them.config.data.sites, strict=True):
        own = read_records(source_of(prepared.config, before), labels=labels)
        found = read_records(source_of(with_them.config, after), labels=labels)
        assert found == own + given.put_in(after.name)
    assert run_audit(prepared, tmp_path / "run", canaries=20).applies


def test_a_weight_that_no_record_has_is_refused_before_anything_trains(tmp_path: Path) -> None:
    path = with_groups(tmp_path, "f = 2.0, male = 0.2")
    said = (
        "evaluation.mitigation.weights male: no record of site0 or site1 is of sex male, "
        "there is f, m"
    )
    with pytest.raises(PlanError, match=said):
        prepare(read_federation(path))


def test_a_gradient_is_what_training_sums(prepared: Prepared) -> None:
    """Against the trainer's own step on one record, by Opacus: same direction in every tensor."""
    (canary,) = for_sites(1).canaries
    start = initial_adapter(prepared.plan, prepared.model)
    bench = plan_bench(prepared.plan, prepared.model, batch_size=8)
    candidate = Candidate(name="x", kind="federation", description="", adapter=start)
    scorer = bench.subject(candidate).scorer
    privacy = prepared.plan.privacy
    site = prepared.plan.sites[0].model_copy(update={"noise_multiplier": 1e-9, "sample_rate": 1.0})
    trainer = Trainer(prepared.plan, prepared.model)
    trainer.load(start)
    units: TrainingUnits = trainer.encode([canary], ((0,),))
    training = prepared.plan.training
    moved = trainer.train(site, units, stream=fixed_stream())
    sizes = {spec.name: spec.size for spec in trainer.trained.tensors}
    found = gradients(scorer, [canary], list(sizes), Sketch(sizes))
    flat = np.concatenate([found[spec.name][0] for spec in trainer.trained.tensors])
    # Two steps of the clip norm, at almost the same place.
    length = 2 * training.learning_rate * privacy.clip_norm / training.expected_batch_size
    assert np.linalg.norm(moved + length * flat) < 0.02 * length
    assert np.linalg.norm(flat) == pytest.approx(1.0, abs=1e-5)


def test_a_sketch_keeps_inner_products_in_the_mean() -> None:
    """A tensor of 200,000 numbers in 65,536: an inner product of unit vectors is off by about
    1 / sqrt(65,536) = 0.004; 0.03 is beyond seven of that."""
    generator = np.random.default_rng(0)
    first, second = generator.normal(size=(2, 200_000)) + 1.0
    first, second = first / np.linalg.norm(first), second / np.linalg.norm(second)
    sketch = Sketch({"big": 200_000})
    kept = [sketch("big", values.astype(np.float32)) for values in (first, second)]
    assert kept[0].size == 65_536
    assert kept[0] @ kept[1] == pytest.approx(first @ second, abs=0.03)
    small = np.arange(6, dtype=np.float32)
    assert Sketch({"small": 6})("small", small).tolist() == small.tolist()


def test_scores_are_compared_within_a_label() -> None:
    found = centred(np.array([1.0, 3.0, 10.0, 20.0]), [0, 0, 1, 1])
    assert found.tolist() == [-1.0, 1.0, -5.0, 5.0]


def test_one_site_or_none_of_that_name(
    prepared: Prepared, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(EvaluationError, match="no site west, expected one of site0, site1"):
        run_audit(prepared, tmp_path / "a", canaries=20, site="west")
    with pytest.raises(EvaluationError, match="3 canaries, expected at least 10"):
        run_audit(prepared, tmp_path / "b", canaries=3)
    assert not (tmp_path / "a").exists()
    findings = run_audit(prepared, tmp_path / "c", canaries=20, site="site1")
    most = figures_of(findings)["epsilon_most"]
    said = f"could not have contradicted epsilon 1.00: at most {most:.2f}."
    assert most < 1.0 and findings.caveats[2].endswith(said)
    _say(findings)
    assert "says nothing of the promise: so few canaries" in capsys.readouterr().out
    assert "site1" in findings.caveats[1] and "site0" not in findings.caveats[1]


def test_the_command_says_claimed_and_measured_and_keeps_its_findings(
    prepared: Prepared, tmp_path: Path
) -> None:
    federation = prepared.config.data.sites[0].path.with_name("federation.toml")
    out = tmp_path / "run"
    asked = [str(federation), "--canaries", "30", "--out", str(out), "--workers", "1"]
    result = CliRunner().invoke(command, [*asked, "--shadows", "2"])
    assert result.exit_code == 0, result.output
    assert "epsilon promised 1.00" in result.output
    assert "nothing that was measured contradicts the promise" in result.output
    assert "shadow run 2 of 2" in result.output and "LiRA tells" in result.output
    written = AuditFindings.model_validate_json((out / FILE).read_bytes())
    assert written.audit == "canaries" and figures_of(written)["canaries"] == 30
    torch.set_num_threads(1)
