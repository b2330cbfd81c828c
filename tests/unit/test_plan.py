"""The plan: one byte form, one hash, and the numbers that planning decides."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError
from safetensors.numpy import save_file

from fedloom.server.planning import epsilon_by_round, make_plan
from fedloom.shared.adapter import Adapter
from fedloom.shared.config.federation import FederationConfig
from fedloom.shared.config.privacy import PrivacyTerms
from fedloom.shared.config.sections import LoraSection, TaskSection
from fedloom.shared.errors import PlanError
from fedloom.shared.plan import Plan
from fedloom.shared.privacy.accounting import Mechanism, prv_epsilon
from tests.support.plans import a_plan, a_site


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A folder with the files that a fingerprint needs; nothing here loads them."""
    folder = tmp_path / "deep" / "base-model"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    save_file({"weights": np.zeros(2, np.float32)}, folder / "model.safetensors")
    (folder / "vocab.txt").write_text("word\n")
    return folder


def config(
    folder: Path, *, sites: tuple[str, ...] = ("a",), **sections: object
) -> FederationConfig:
    tree: dict[str, object] = {
        "federation": {"name": "tiny"},
        "model": {"path": str(folder)},
        "task": {"labels": ["no", "yes"]},
        "privacy": {"noise_multiplier": 1.0},
        "training": {"local_steps": 2, "expected_batch_size": 50, "precision": "fp32"},
        "rounds": {"total": 3},
        "data": {"sites": [{"name": name, "path": f"{name}.csv"} for name in sites]},
    }
    return FederationConfig.model_validate(tree | sections)


@pytest.mark.parametrize(
    "plan",
    [
        a_plan(),
        a_plan(task=TaskSection(labels=("größer", 'quo"te', "日本"))),
        a_plan(privacy=PrivacyTerms(epsilon=0.1 + 0.2, delta=1 / 3e7, noise_seed=0)),
        a_plan(lora=LoraSection(targets=("q", "v"), last_layers=2, alpha=1e-9)),
        # It holds terms that `[privacy]` itself would refuse beside mode "none".
        pytest.param(
            a_plan(
                privacy=PrivacyTerms(mode="none"),
                sites=(a_site(noise_multiplier=0.0, epsilon=None),),
            ),
            id="no-privacy",
        ),
    ],
)
def test_a_plan_survives_canonical_and_toml(plan: Plan) -> None:
    # Another spelling of a float, a dropped null or a lost accent would change the hash.
    assert Plan.from_canonical(plan.canonical(), sha256=plan.sha256) == plan
    assert Plan.from_toml(plan.to_toml()).canonical() == plan.canonical()
    assert plan.sha256 in plan.to_toml().splitlines()[0]


def test_the_hash_is_of_sorted_json_without_spaces() -> None:
    plan = a_plan()
    tree = json.loads(plan.canonical())
    again = json.dumps(tree, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    assert again.encode() == plan.canonical()
    assert digest(again.encode()) == plan.sha256


CHANGES: dict[str, object] = {
    "name": "other",
    "model.sha256": "cd" * 32,
    "model.max_length": 65,
    "task.labels.0": "other",
    "lora.rank": 9,
    "lora.init_seed": 1,
    "lora.last_layers": 1,
    "start_sha256": "cd" * 32,
    "privacy.noise_multiplier": 1.0000000000000002,
    "privacy.delta": 2e-5,
    "privacy.clip_norm": 2.0,
    "privacy.clipping": "automatic",
    "privacy.unit": "author",
    "privacy.unit_cap": 17,
    "privacy.noise_seed": 0,
    "training.local_steps": 3,
    "training.head_rounds": 1,
    "training.head_local_steps": 9,
    "training.expected_batch_size": 51,
    "training.learning_rate": 0.02,
    "training.head_learning_rate": 0.01,
    "training.schedule": "cosine",
    "training.warmup": 0.1,
    "training.precision": "bf16",
    "aggregation.method": "fedit",
    "aggregation.weights": "declared",
    "aggregation.server_momentum": 0.5,
    "aggregation.max_update_norm": 99.0,
    "rounds.total": 4,
    "rounds.quorum": 2,
    "rounds.deadline_seconds": 61.0,
    "sites.1.name": "west",
    "sites.0.declared_units": 1001,
    "sites.0.sample_rate": 0.06,
    "sites.0.noise_multiplier": 1.1,
    "sites.0.steps": 7,
    "sites.0.epsilon": 1.1,
}


@pytest.mark.parametrize(("where", "value"), CHANGES.items(), ids=CHANGES)
def test_every_field_is_under_the_hash(where: str, value: object) -> None:
    plan = a_plan()
    tree = plan.model_dump(mode="json")
    *parents, last = [int(part) if part.isdigit() else part for part in where.split(".")]
    place = tree
    for part in parents:
        place = place[part]
    assert place[last] != value
    place[last] = value
    assert Plan.model_validate_json(json.dumps(tree)).sha256 != plan.sha256


def test_tampered_bytes_are_refused() -> None:
    plan = a_plan()
    tampered = plan.canonical().replace(b'"noise_multiplier":1.0', b'"noise_multiplier":0.1')
    assert tampered != plan.canonical()
    with pytest.raises(PlanError, match="bytes have sha256"):
        Plan.from_canonical(tampered, sha256=plan.sha256)


@pytest.mark.parametrize(
    "respelt",
    [
        lambda content: content.replace(b":", b": "),
        lambda content: content + b"\n",
        lambda content: json.dumps(dict(reversed(json.loads(content).items()))).encode(),
        lambda content: content.replace(b'"clip_norm":1.0', b'"clip_norm":1.00'),
        lambda content: content.replace(b'"accountant":"prv",', b""),
        lambda content: content.replace(b'"rank":8', b'"rank":8,"last_layers":null'),
    ],
    ids=["space", "newline", "order", "digits", "default-left-out", "null"],
)
def test_another_spelling_of_the_same_plan_is_refused(respelt) -> None:
    # Two byte forms of one plan would be two hashes, hence two budgets' worth of tasks.
    content = respelt(a_plan().canonical())
    assert content != a_plan().canonical()
    with pytest.raises(PlanError, match="canonical"):
        Plan.from_canonical(content, sha256=digest(content))


@pytest.mark.parametrize("where", ["", "privacy", "training", "sites"])
def test_an_unknown_field_is_refused(where: str) -> None:
    tree = json.loads(a_plan().canonical())
    place = tree[where][0] if where == "sites" else tree[where] if where else tree
    place["backdoor"] = 1
    content = json.dumps(tree, sort_keys=True, separators=(",", ":")).encode()
    with pytest.raises(PlanError, match=r"backdoor: unknown key"):
        Plan.from_canonical(content, sha256=digest(content))


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b"\xff", b'{"format":2}'])
def test_bytes_that_are_no_plan_are_refused(content: bytes) -> None:
    with pytest.raises(PlanError):
        Plan.from_canonical(content, sha256=digest(content))


@pytest.mark.parametrize("text", ["a = [", "name = 3", "", "name = 2020-01-01"])
def test_a_text_that_is_no_plan_is_refused(text: str) -> None:
    with pytest.raises(PlanError):
        Plan.from_toml(text)


def test_a_plan_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="frozen"):
        a_plan().name = "other"


def test_a_site_that_is_not_in_the_plan() -> None:
    plan = a_plan()
    assert plan.site("south").name == "south"
    with pytest.raises(PlanError, match="no site named west"):
        plan.site("west")


def test_planning_fills_every_sites_numbers(model: Path) -> None:
    plan = make_plan(config(model, sites=("a", "b")), model=model, units={"a": 1000, "b": 500})
    assert [(site.name, site.declared_units) for site in plan.sites] == [("a", 1000), ("b", 500)]
    assert [site.sample_rate for site in plan.sites] == [0.05, 0.1]
    assert {site.steps for site in plan.sites} == {6}


def test_a_site_smaller_than_the_batch_is_refused(model: Path) -> None:
    with pytest.raises(PlanError, match=r"site a: 49 privacy units.*batch_size = 50"):
        make_plan(config(model), model=model, units={"a": 49})


def test_a_site_of_just_the_batch_is_planned(model: Path) -> None:
    assert make_plan(config(model), model=model, units={"a": 50}).sites[0].sample_rate == 1.0


def test_a_delta_that_lets_a_unit_leak_is_refused(model: Path) -> None:
    loose = config(model, privacy={"noise_multiplier": 1.0, "delta": 1e-3})
    with pytest.raises(PlanError, match=r"delta 0\.001 with 1000"):
        make_plan(loose, model=model, units={"a": 1000})
    assert make_plan(loose, model=model, units={"a": 999})


def test_fixed_noise_states_its_epsilon(model: Path) -> None:
    site = make_plan(config(model), model=model, units={"a": 1000}).sites[0]
    mechanism = Mechanism(noise_multiplier=1.0, sample_rate=0.05, steps=6)
    assert site.noise_multiplier == 1.0
    assert site.epsilon == pytest.approx(prv_epsilon([mechanism], 1e-5))


@pytest.mark.parametrize("target", [0.5, 8.0])
def test_calibrated_noise_uses_the_budget_and_no_more(model: Path, target: float) -> None:
    wanted = config(model, privacy={"epsilon": target})
    site = make_plan(wanted, model=model, units={"a": 1000}).sites[0]
    assert site.epsilon is not None
    assert 0.99 * target <= site.epsilon <= target
    # Recomputed from the plan's own numbers, it is what the plan says.
    mechanism = Mechanism(
        noise_multiplier=site.noise_multiplier, sample_rate=site.sample_rate, steps=site.steps
    )
    assert prv_epsilon([mechanism], 1e-5) == pytest.approx(site.epsilon)


def test_smaller_sites_need_more_noise(model: Path) -> None:
    wanted = config(model, sites=("a", "b"), privacy={"epsilon": 0.5})
    large, small = make_plan(wanted, model=model, units={"a": 1000, "b": 500}).sites
    assert small.noise_multiplier > large.noise_multiplier


def test_without_privacy_there_is_no_noise_and_no_epsilon(model: Path) -> None:
    plan = make_plan(config(model, privacy={"mode": "none"}), model=model, units={"a": 1000})
    assert (plan.sites[0].noise_multiplier, plan.sites[0].epsilon) == (0.0, None)
    assert epsilon_by_round(plan) == {}


def test_epsilon_grows_by_round_to_the_plans(model: Path) -> None:
    plan = make_plan(config(model), model=model, units={"a": 1000})
    spent = epsilon_by_round(plan)["a"]
    assert list(spent) == sorted(set(spent))
    assert spent[-1] == pytest.approx(plan.sites[0].epsilon)


@pytest.mark.parametrize(("count", "quorum"), [(1, 1), (2, 2), (3, 2), (4, 3), (5, 3)])
def test_the_default_quorum_is_a_majority(model: Path, count: int, quorum: int) -> None:
    names = tuple(f"s{number}" for number in range(count))
    plain = config(model, sites=names, privacy={"mode": "none"})
    assert make_plan(plain, model=model, units=dict.fromkeys(names, 100)).rounds.quorum == quorum


@pytest.mark.parametrize(
    ("privacy", "named", "method"),
    [
        ({"noise_multiplier": 1.0}, {}, "ffa-lora"),
        ({"mode": "none"}, {}, "fedit"),
        ({"noise_multiplier": 1.0}, {"method": "fedit"}, "fedit"),
        ({"mode": "none"}, {"method": "ffa-lora"}, "ffa-lora"),
    ],
)
def test_the_default_method_follows_the_mode(
    model: Path, privacy: dict[str, object], named: dict[str, object], method: str
) -> None:
    wanted = config(model, privacy=privacy, aggregation=named)
    assert make_plan(wanted, model=model, units={"a": 1000}).aggregation.method == method


@pytest.mark.parametrize("asked", ["auto", "fp32", "bf16"])
def test_a_plan_never_leaves_the_precision_open(model: Path, asked: str) -> None:
    # Two sites of other machines would round differently under one plan.
    wanted = config(model, training={"expected_batch_size": 50, "precision": asked})
    plain = wanted.model_copy(update={"privacy": PrivacyTerms(mode="none")})
    decided = make_plan(plain, model=model, units={"a": 100}).training.precision
    assert decided in ({"fp32", "bf16"} if asked == "auto" else {asked})


def test_a_plan_with_an_open_precision_is_refused() -> None:
    tree = json.loads(a_plan().canonical())
    tree["training"]["precision"] = "auto"
    content = json.dumps(tree, sort_keys=True, separators=(",", ":")).encode()
    with pytest.raises(PlanError, match="precision is auto"):
        Plan.from_canonical(content, sha256=digest(content))


def test_only_the_last_part_of_a_model_folder_is_in_the_plan(model: Path) -> None:
    # The coordinator's directory names are nobody else's business.
    plan = make_plan(config(model), model=model, units={"a": 1000})
    assert plan.model.name == "base-model"
    assert str(model.parent).encode() not in plan.canonical()


def test_a_hub_id_is_kept_whole(model: Path) -> None:
    named = config(model, model={"path": "org/base"})
    assert make_plan(named, model=model, units={"a": 1000}).model.name == "org/base"


@pytest.mark.parametrize(
    "terms", [{"noise_multiplier": 1.0, "delta": 1e-30}, {"noise_multiplier": 0.01}]
)
def test_terms_that_the_accountant_cannot_follow_are_refused_in_the_config(
    model: Path, terms: dict[str, float]
) -> None:
    """The accountant would fail with a traceback, or work for minutes first."""
    with pytest.raises(ValidationError):
        config(model, privacy=terms)


@pytest.mark.parametrize(
    ("section", "key", "value"),
    [
        ("privacy", "clip_norm", 1e7),
        ("privacy", "clip_norm", 1e-7),
        ("privacy", "unit_cap", 10**6),
        ("training", "local_steps", 10**9),
        ("training", "micro_tokens", 10**9),
        ("rounds", "total", 10**9),
        ("task", "labels", [str(number) for number in range(1001)]),
    ],
)
def test_a_peers_plan_beyond_reason_is_refused_before_anything_is_computed(
    section: str, key: str, value: object
) -> None:
    tree = json.loads(a_plan().canonical())
    tree[section][key] = value
    content = json.dumps(tree, sort_keys=True, separators=(",", ":")).encode()
    with pytest.raises(PlanError, match=f"{section}.{key}"):
        Plan.from_canonical(content, sha256=digest(content))


def test_a_plan_of_more_head_rounds_than_rounds_is_refused() -> None:
    tree = json.loads(a_plan().canonical())
    tree["training"]["head_rounds"] = 4
    content = json.dumps(tree, sort_keys=True, separators=(",", ":")).encode()
    with pytest.raises(PlanError, match=r"head_rounds is 4, expected at most rounds.total = 3"):
        Plan.from_canonical(content, sha256=digest(content))


def test_head_rounds_for_a_model_without_a_head_are_refused_when_planning(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    training = {"head_rounds": 1, "expected_batch_size": 50, "precision": "fp32"}
    headless = Adapter.from_state({"l.lora_A.weight": np.zeros((2, 3), np.float32)})
    monkeypatch.setattr("fedloom.server.planning.initial_adapter", lambda *_: headless)
    with pytest.raises(PlanError, match=r"head_rounds is 1, but the model has no head"):
        make_plan(config(model, training=training), model=model, units={"a": 1000})


def test_a_plan_counts_the_steps_of_head_rounds(tiny_model: Path) -> None:
    training = {
        "local_steps": 2, "head_rounds": 2, "head_local_steps": 7,
        "expected_batch_size": 50, "precision": "fp32",
    }  # fmt: skip
    wanted = config(tiny_model, training=training)
    plan = make_plan(wanted, model=tiny_model, units={"a": 1000})
    assert plan.sites[0].steps == 7 + 7 + 2
    spent = epsilon_by_round(plan)["a"]
    for told, steps in zip(spent, (7, 14, 16), strict=True):
        mechanism = Mechanism(noise_multiplier=1.0, sample_rate=0.05, steps=steps)
        assert told == pytest.approx(prv_epsilon([mechanism], 1e-5))
    assert spent[-1] == plan.sites[0].epsilon


def test_a_plan_without_privacy_that_speaks_of_noise_is_refused() -> None:
    """Its noise would look like protection in a ledger and in a report."""
    with pytest.raises(ValidationError, match='mode "none" contradicts a site'):
        a_plan(privacy=PrivacyTerms(mode="none"))
