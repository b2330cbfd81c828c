"""`fedloom site status | approve | withdraw`, as a steward types them."""

import json
import socket
from dataclasses import dataclass
from pathlib import Path

import pytest
from click.testing import CliRunner

from fedloom.cli.main import cli
from fedloom.client.ledger.ledger import Ledger
from fedloom.client.site.config import ServiceSettings, SiteConfig
from fedloom.client.site.desk import SiteDesk
from fedloom.client.site.directory import SiteDirectory
from fedloom.client.site.holding import sole_service
from fedloom.client.site.opening import approvals_of, ledger_of
from fedloom.client.training.trainer import Trainer
from fedloom.shared.plan import Plan
from fedloom.shared.wire.envelope import Envelope
from fedloom.shared.wire.messages import TrainTask
from tests.support.sites import a_policy, a_site, write_settings
from tests.support.training import make_plan, site_plan

ROWS, BATCH, ROUNDS = 60, 20, 2
MANUAL = a_policy(min_units=10, epsilon=50.0, mode="manual")


@dataclass(frozen=True, kw_only=True)
class Stewarded:
    """A site whose plans wait, its desk, and a plan."""

    config: SiteConfig
    settings: Path
    desk: SiteDesk
    plan: Plan

    def say(self, command: str, *arguments: str) -> tuple[int, str]:
        line = ["site", command, str(self.settings), *arguments]
        found = CliRunner().invoke(cli, line)
        return found.exit_code, str(found.exception or "") + found.output

    def rule(self, number: int = 1, plan: Plan | None = None) -> str | None:
        plan = plan or self.plan
        start = Trainer(self.plan, self.config.model).start
        task = TrainTask(plan=plan, site="north", round=number, adapter=start)
        header = json.loads(self.desk.train(Envelope(frame=task.pack())).frame.header)
        found: str | None = header.get("rule")
        return found


@pytest.fixture
def site(tmp_path: Path, tiny_model: Path) -> Stewarded:
    part = site_plan(rate=BATCH / ROWS, units=ROWS).model_copy(update={"steps": ROUNDS})
    plan = make_plan(tiny_model, batch=BATCH, site=part, seed=None)
    plan = plan.model_copy(update={"rounds": plan.rounds.model_copy(update={"total": ROUNDS})})
    config = a_site(tmp_path, model=tiny_model, rows=ROWS)
    settings = write_settings(config, MANUAL)
    desk = SiteDesk(settings, SiteDirectory())
    return Stewarded(config=config, settings=settings, desk=desk, plan=plan)


def test_a_withdrawn_approval_refuses_the_next_round(site: Stewarded) -> None:
    sha256 = site.plan.sha256
    assert site.rule() == "approval"
    assert f"waiting   {sha256}  {site.plan.name}, 2 rounds" in site.say("status")[1]
    assert site.say("approve", sha256[:12], "--yes")[0] == 0
    code, status = site.say("status")
    assert code == 0 and f"approved  {sha256}  at 20" in status and "waiting" not in status
    assert site.rule() is None
    code, said = site.say("withdraw", sha256[:12])
    assert code == 0 and f"withdrawn: plan {sha256}" in said and "note" not in said
    assert site.rule(2) == "approval"
    events = [entry.event for entry in Ledger(site.config.state).entries()]
    assert events == ["reserved", "released"], "nothing is charged for what is refused"
    assert f"waiting   {sha256}" in site.say("status")[1]


def test_a_plan_that_waits_is_withdrawn_and_a_wrong_name_is_one_line(site: Stewarded) -> None:
    site.rule()
    assert site.say("withdraw", "zz") == (
        1, "plan zz: none waiting or approved, expected one of that name"
    )  # fmt: skip
    assert site.say("withdraw", site.plan.sha256[:8])[0] == 0
    assert "waiting" not in site.say("status")[1]


def test_a_withdrawal_that_changes_nothing_says_so(site: Stewarded) -> None:
    """Under the other mode a plan trains without an approval, withdrawn or not."""
    site.rule()
    write_settings(site.config, a_policy(min_units=10, epsilon=50.0))
    said = site.say("withdraw", site.plan.sha256)[1]
    assert "note: under approval.mode automatic-within-policy it trains without one" in said


def test_what_is_approved_is_told_so_and_not_signed_again(site: Stewarded, tmp_path: Path) -> None:
    site.rule()
    assert "signed: plan" in site.say("approve", site.plan.sha256, "--yes")[1]
    sent = tmp_path / "sent.toml"
    sent.write_text(site.plan.to_toml(), encoding="utf-8")
    for name in (site.plan.sha256, site.plan.sha256[:6], str(sent)):
        code, said = site.say("approve", name, "--yes")
        assert code == 0 and said.startswith(f"already approved: plan {site.plan.sha256[:12]}")
        assert "nothing was signed" in said and "signed: plan" not in said


def test_a_plan_that_the_policy_refuses_does_not_wait_and_no_approval_helps_it(
    site: Stewarded,
) -> None:
    """Rules come first: a steward is asked for what may train, and overrules no policy."""
    part = site.plan.sites[0].model_copy(update={"noise_multiplier": 0.25})
    refused = site.plan.model_copy(update={"sites": (part,)})
    assert site.rule(plan=refused) == "noise-multiplier"
    assert approvals_of(site.config).waiting() == []
    approvals_of(site.config).approve(refused, ledger_of(site.config).signer())
    assert site.rule(plan=refused) == "noise-multiplier"
    assert Ledger(site.config.state).entries() == ()


def test_a_damaged_approval_is_told_and_the_rest_is_still_shown(site: Stewarded) -> None:
    site.rule()
    site.say("approve", site.plan.sha256, "--yes")
    (path,) = (site.config.state / "approvals").glob("*.approval")
    path.write_text("{}")
    code, status = site.say("status")
    assert code == 0 and f"problem   {path}: damaged" in status


def test_a_service_with_certificates_is_told_of_without_the_relays(site: Stewarded) -> None:
    """The relay's folder is another user's."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{listening.getsockname()[1]}"
        tls = site.config.state.with_name("tls")
        service = ServiceSettings(address=address, tls=tls)
        config = site.config.model_copy(update={"service": service})
        write_settings(config, MANUAL)

        def said() -> str:
            code, status = site.say("status")
            assert code == 0
            return next(line for line in status.splitlines() if line.startswith("service"))

        assert said() == f"service   does not run, and nothing listens on {address}"
        with sole_service(config):
            assert said() == f"service   runs, and nothing listens on {address}"
            listening.listen()
            assert said() == f"service   runs, and it listens on {address}"
        assert said() == f"service   does not run, and something else listens on {address}"


@pytest.mark.parametrize("address", ["127.0.0.1:99999", "example.org:443"])
def test_an_address_that_is_none_is_told_by_the_status(site: Stewarded, address: str) -> None:
    service = ServiceSettings(address=address, tls=Path("/none"))
    write_settings(site.config.model_copy(update={"service": service}), MANUAL)
    assert f"service   {address}, expected unix:PATH" in site.say("status")[1]
