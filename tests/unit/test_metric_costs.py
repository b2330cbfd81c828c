"""What metrics cost: the plan, the site and the ledger count the same, and count all of it."""

import json
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError
from safetensors.numpy import save_file

from fedloom.client.ledger.audit import LedgerExport, verify_export
from fedloom.client.ledger.entries import Charge, charge_of
from fedloom.client.ledger.spending import Spent
from fedloom.client.site.policy.asked import Asked, Facts
from fedloom.client.site.policy.rules import check_task
from fedloom.client.site.reading import in_plain_words
from fedloom.server.planning import epsilon_by_round, make_plan
from fedloom.shared.config.federation import FederationConfig
from fedloom.shared.config.privacy import MetricsSection, PrivacyTerms
from fedloom.shared.errors import LedgerError, PlanError, SiteRefusal
from fedloom.shared.plan import Plan
from fedloom.shared.privacy.accounting import Mechanism, prv_epsilon
from fedloom.shared.privacy.calibration import solve_noise_multiplier
from fedloom.shared.privacy.mechanisms import mechanisms_of
from tests.statistical.test_accounting import pld_epsilon
from tests.support.ledgers import begun
from tests.support.plans import BATCH, ROUNDS, STEPS, UNITS, a_plan, a_site, a_task
from tests.support.sites import a_policy, a_site_config

NOISE = 10.0
METRICS = MetricsSection(values=("held-out-accuracy",), every=2, noise_multiplier=NOISE)
TRAINED = Mechanism(noise_multiplier=1.0, sample_rate=BATCH / UNITS, steps=STEPS * ROUNDS)
# Of three rounds only the second is measured.
MEASURED = Mechanism(noise_multiplier=NOISE, sample_rate=1.0, steps=1)
COST = prv_epsilon([TRAINED, MEASURED], 1e-5)
ALLOWING = {"values": ("held-out-accuracy",)}


def measuring(**changes: object) -> Plan:
    return a_plan(metrics=METRICS, **changes)


def check(plan: Plan, round_number: int = 1, spent: tuple[Mechanism, ...] = (), **policy: object):  # type: ignore[no-untyped-def]
    history = Spent(
        history=spent, rounds=0, steps=0, units=frozenset(), without_privacy=False, seeded=False
    )
    asked = Asked(
        task=a_task(plan=plan, round_number=round_number),
        config=a_site_config(Path(), declared_units=UNITS),
        policy=a_policy(**policy),
        facts=Facts(model_sha256="ab" * 32, spent=history),
    )
    check_task(asked)


def refused(plan: Plan, round_number: int = 1, **policy: object) -> SiteRefusal:
    with pytest.raises(SiteRefusal) as caught:
        check(plan, round_number, **policy)
    return caught.value


@pytest.mark.parametrize("rounds", [(1,), (2,), (1, 2, 3)])
def test_rounds_cost_their_steps_and_a_release_each_if_measured(rounds: tuple[int, ...]) -> None:
    plan = measuring()
    training, *metric = mechanisms_of(plan, plan.site("north"), rounds)
    assert training.steps == STEPS * len(rounds)
    assert metric == ([MEASURED] if 2 in rounds else [])
    plain = a_plan()
    assert len(mechanisms_of(plain, plain.site("north"), rounds)) == 1


def test_by_default_nothing_is_measured_and_saying_so_changes_no_plan() -> None:
    plan = a_plan()
    assert not any(map(plan.metrics.measures, range(1, 100)))
    spelt = {"values": [], "every": 10, "noise_multiplier": 20.0}
    tree = json.loads(plan.canonical())
    assert tree.pop("metrics") == spelt
    left_out = Plan.model_validate(tree)
    assert left_out.sha256 == Plan.model_validate(tree | {"metrics": spelt}).sha256 == plan.sha256
    assert measuring().sha256 != plan.sha256
    assert Plan.from_toml(measuring().to_toml()) == measuring()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {
                "privacy": PrivacyTerms(mode="none"),
                "sites": (a_site(noise_multiplier=0.0, epsilon=None),),
            },
            "no epsilon would cover them",
        ),
        ({"metrics": METRICS.model_copy(update={"every": ROUNDS + 1})}, "nothing is ever measured"),
    ],
)
def test_what_nothing_covers_or_nothing_measures_is_no_plan(
    changes: dict[str, object], message: str
) -> None:
    with pytest.raises(ValidationError, match=message):
        a_plan(**({"metrics": METRICS} | changes))


@pytest.mark.parametrize(
    ("key", "value"),
    [("noise_multiplier", 0.5), ("noise_multiplier", 1e5), ("every", 0), ("values", ["loss"])],
)
def test_less_noise_more_rounds_and_other_values_cannot_be_asked(key: str, value: object) -> None:
    with pytest.raises(ValidationError):
        MetricsSection.model_validate({"values": ["held-out-accuracy"], key: value})


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A folder with the files that a fingerprint needs; nothing here loads them."""
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "vocab.txt").write_text("word\n")
    save_file({"weights": np.zeros(2, np.float32)}, tmp_path / "model.safetensors")
    return tmp_path


def planned(model: Path, metrics: dict[str, object], **privacy: object) -> Plan:
    tree: dict[str, object] = {
        "federation": {"name": "tiny"},
        "model": {"path": str(model)},
        "task": {"labels": ["no", "yes"]},
        "privacy": privacy or {"epsilon": 2.0},
        "training": {"local_steps": 4, "expected_batch_size": 50, "precision": "fp32"},
        "rounds": {"total": 10},
        "data": {"sites": [{"name": "a", "path": "a.csv"}]},
        "metrics": metrics,
    }
    return make_plan(FederationConfig.model_validate(tree), model=model, units={"a": 1000})


ASKED = {"values": ["held-out-accuracy"], "every": 2, "noise_multiplier": 8.0}


def test_a_plans_epsilon_covers_its_metrics_and_is_tight(model: Path) -> None:
    """By an accountant of another make, from the plan's own numbers."""
    plan, plain = planned(model, ASKED), planned(model, {})
    (site,) = plan.sites
    run = [
        Mechanism(noise_multiplier=site.noise_multiplier, sample_rate=0.05, steps=40),
        Mechanism(noise_multiplier=8.0, sample_rate=1.0, steps=5),
    ]
    assert site.epsilon is not None
    assert 0.97 * 2.0 < site.epsilon <= 2.0
    assert site.epsilon == pytest.approx(pld_epsilon(run, 1e-5), rel=0.01)
    assert pld_epsilon(run[:1], 1e-5) < 1.97, "the metric has a part in it"
    assert site.noise_multiplier > plain.sites[0].noise_multiplier


def test_with_fixed_noise_the_metrics_come_on_top(model: Path) -> None:
    plan, plain = (planned(model, at, noise_multiplier=1.0) for at in (ASKED, {}))
    run = [
        Mechanism(noise_multiplier=1.0, sample_rate=0.05, steps=40),
        Mechanism(noise_multiplier=8.0, sample_rate=1.0, steps=5),
    ]
    assert plan.sites[0].epsilon == pytest.approx(pld_epsilon(run, 1e-5), rel=0.01)
    assert (plan.sites[0].epsilon or 0) > (plain.sites[0].epsilon or 0) * 1.05


def test_epsilon_by_round_rises_more_where_it_is_measured(model: Path) -> None:
    plan = planned(model, ASKED, noise_multiplier=1.0)
    (found,) = epsilon_by_round(plan).values()
    plain = epsilon_by_round(planned(model, {}, noise_multiplier=1.0))["a"]
    assert found[0] == plain[0]
    assert found[-1] == pytest.approx(plan.sites[0].epsilon)
    rises = np.diff(np.array(found) - np.array(plain))
    assert np.all(rises[0::2] > 0.01), "rounds 2, 4, ... are measured"


def test_metrics_that_take_all_there_is_leave_no_plan(model: Path) -> None:
    loud = {"values": ["held-out-accuracy"], "every": 1, "noise_multiplier": 1.0}
    with pytest.raises(PlanError, match="fewer metrics"):
        planned(model, loud)


def test_solved_noise_pays_for_what_runs_beside() -> None:
    noise = solve_noise_multiplier(
        epsilon=1.0, delta=1e-5, sample_rate=0.05, steps=60, accountant=prv_epsilon,
        beside=(MEASURED,),
    )  # fmt: skip
    run = Mechanism(noise_multiplier=noise, sample_rate=0.05, steps=60)
    assert 0.97 < prv_epsilon([run, MEASURED], 1e-5) <= 1.0
    assert pld_epsilon([run, MEASURED], 1e-5) <= 1.005


def test_a_site_refuses_what_it_does_not_release() -> None:
    assert refused(measuring()).rule == "released-values"
    assert refused(measuring(), ROUNDS).rule == "released-values", "whatever the round"
    check(measuring(), **ALLOWING)


def test_a_site_refuses_a_metric_with_too_little_noise() -> None:
    error = refused(measuring(), **ALLOWING, min_metric_noise_multiplier=NOISE * 1.01)
    assert error.rule == "metric-noise"
    check(measuring(), **ALLOWING, min_metric_noise_multiplier=NOISE)


def test_metrics_count_against_both_limits() -> None:
    """Controls of a policy that looks at training alone."""
    trained = prv_epsilon([TRAINED], 1e-5)
    assert trained < COST
    between = (trained + COST) / 2
    error = refused(measuring(), **ALLOWING, epsilon=99.0, epsilon_per_run=between)
    assert error.rule == "epsilon-per-run" and f"asked {COST:.4g}" in str(error)
    check(measuring(), **ALLOWING, epsilon=COST, epsilon_per_run=COST)
    one = Mechanism(noise_multiplier=1.0, sample_rate=BATCH / UNITS, steps=STEPS)
    after = prv_epsilon([TRAINED, one, MEASURED], 1e-5)
    history = {"spent": (TRAINED,), "epsilon_per_run": COST}
    check(measuring(), 2, **history, **ALLOWING, epsilon=after)
    assert refused(measuring(), 2, **history, **ALLOWING, epsilon=after * 0.999).rule == "epsilon"
    check(measuring(), 1, **history, **ALLOWING, epsilon=after * 0.999)


def test_a_charge_names_the_noise_of_a_metric_only_where_there_is_one() -> None:
    charges = [charge_of(a_task(plan=measuring(), round_number=at)) for at in (1, 2, 3)]
    assert [charge.metric_noise for charge in charges] == [None, NOISE, None]
    assert [b"metric_noise" in charge.canonical() for charge in charges] == [False, True, False]


def test_the_ledger_adds_metrics_up_as_another_accountant_does(tmp_path: Path) -> None:
    ledger = begun(tmp_path / "state")
    for number in (1, 2, 3):
        ledger.reserve(charge_of(a_task(plan=measuring(), round_number=number)))
    spent = ledger.spent()
    assert spent.steps == STEPS * ROUNDS
    found = prv_epsilon(spent.history, 1e-5)
    assert found == pytest.approx(COST)
    assert found == pytest.approx(pld_epsilon([TRAINED, MEASURED], 1e-5), rel=0.01)
    assert found > prv_epsilon([TRAINED], 1e-5)
    plan = measuring()
    assert set(spent.history) == {
        each for number in (1, 2, 3) for each in mechanisms_of(plan, plan.site("north"), (number,))
    }, "the ledger's numbers and the plan's are the same"


def test_an_export_with_metrics_verifies_and_one_without_them_taken_out_does_not(
    tmp_path: Path,
) -> None:
    ledger = begun(tmp_path / "state")
    ledger.reserve(charge_of(a_task(plan=measuring(), round_number=2)))
    exported, path = LedgerExport.of(ledger), tmp_path / "export.json"
    path.write_text(exported.model_dump_json())
    verify_export(path, public_key=exported.public_key)
    assert '\\"metric_noise\\":10.0,' in path.read_text()
    path.write_text(path.read_text().replace('\\"metric_noise\\":10.0,', ""))
    with pytest.raises(LedgerError, match="not signed"):
        verify_export(path, public_key=exported.public_key)


def test_a_charge_has_one_byte_form() -> None:
    plain = charge_of(a_task())
    spelt = plain.canonical().replace(b'"noise', b'"metric_noise":null,"noise')
    assert b"null" in spelt and Charge.model_validate_json(spelt) == plain
    assert Charge.model_validate_json(spelt).canonical() == plain.canonical() != spelt


def test_the_steward_reads_what_leaves_and_what_it_costs() -> None:
    nothing = Spent(
        history=(), rounds=0, steps=0, units=frozenset(), without_privacy=False, seeded=False
    )  # fmt: skip
    config = a_site_config(Path(), declared_units=UNITS)
    text, plain = (
        "\n".join(in_plain_words(plan, config, a_policy(), nothing))
        for plan in (measuring(), a_plan())
    )
    assert "held-out-accuracy, beside the update in 1 round:" in text
    assert "noise 10 times what one record can move" in text
    assert f"{COST:.2f} after the whole run" in text
    assert "leaves" not in plain
