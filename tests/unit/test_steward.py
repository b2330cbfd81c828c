"""What a steward is shown of a plan, and for which plans no signature is to be had."""

from pathlib import Path

import pytest

from fedloom.client.site.config import SiteConfig
from fedloom.client.site.opening import approvals_of, ledger_of
from fedloom.client.site.policy.document import Policy
from fedloom.client.site.steward import Steward
from fedloom.shared.errors import PlanError, SiteRefusal
from fedloom.shared.plan import Plan
from tests.support.sites import a_policy, a_site, write_settings
from tests.support.training import make_plan, site_plan

ROWS, BATCH = 60, 20
MANUAL = a_policy(min_units=10, epsilon=8.0, mode="manual")


@pytest.fixture
def config(tmp_path: Path, tiny_model: Path) -> SiteConfig:
    return a_site(tmp_path, model=tiny_model, rows=ROWS)


def steward_of(config: SiteConfig, policy: Policy = MANUAL) -> Steward:
    return Steward.of(write_settings(config, policy))


def a_plan(model: Path, *, noise: float = 2.0, units: int = ROWS) -> Plan:
    site = site_plan(noise=noise, rate=BATCH / ROWS, units=units)
    return make_plan(model, batch=BATCH, site=site, seed=None)


def test_a_plan_that_the_policy_covers_is_explained_and_checked(
    config: SiteConfig, tiny_model: Path
) -> None:
    steward, plan = steward_of(config), a_plan(tiny_model)
    steward.check(plan)
    told = "\n".join(steward.explain(plan))
    for words in (
        "classification",
        plan.sha256,
        "rank 4",
        "0.00 now",
        "8 allowed",
        "1 round, 1 step in all",
    ):
        assert words in told, words


@pytest.mark.parametrize(
    ("rule", "changes"),
    [("declared-units", {"units": ROWS + 3}), ("epsilon-per-run", {"noise": 0.35})],
)
def test_a_plan_that_would_be_refused_is_not_signed_for(
    config: SiteConfig, tiny_model: Path, rule: str, changes: dict[str, float]
) -> None:
    """A signature for what never trains would tell the steward something false."""
    with pytest.raises(SiteRefusal) as caught:
        steward_of(config).check(a_plan(tiny_model, **changes))  # type: ignore[arg-type]
    assert caught.value.rule == rule
    assert not (config.state / "approvals").exists()


def test_a_coordinators_names_do_not_paint_over_the_plan(
    config: SiteConfig, tiny_model: Path
) -> None:
    plan = a_plan(tiny_model)
    model = plan.model.model_copy(update={"name": "x\nepsilon   0.12 now\x1b[8m\u202e"})
    told = list(steward_of(config).explain(plan.model_copy(update={"model": model})))
    assert all(line.isprintable() for line in told)
    assert sum(line.startswith("epsilon") for line in told) == 1


def test_a_plan_may_come_as_a_file_before_it_is_asked_for(
    config: SiteConfig, tiny_model: Path, tmp_path: Path
) -> None:
    steward, plan, path = steward_of(config), a_plan(tiny_model), tmp_path / "sent.toml"
    path.write_text(plan.to_toml(), encoding="utf-8")
    found = steward.find(str(path))
    steward.approve(found)
    approvals_of(config).check(plan, steward_key(config))
    path.write_text("name = 'x'", encoding="utf-8")
    with pytest.raises(PlanError, match=r"sent\.toml: no plan"):
        steward.find(str(path))


def steward_key(config: SiteConfig) -> str:
    return ledger_of(config).signer().public
