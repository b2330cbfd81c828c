"""What a site says of its budget: whatever goes wrong at home, and however many ask at once."""

import json
import logging
import sqlite3
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from fedloom.client.ledger import ledger as ledger_module
from fedloom.client.ledger import store
from fedloom.client.ledger.chain import Chain, Signed
from fedloom.client.site.config import SiteConfig, read_site_config
from fedloom.client.site.desk import SiteDesk
from fedloom.client.site.directory import SiteDirectory
from fedloom.client.site.service import SiteService
from fedloom.client.training.trainer import Trainer
from fedloom.shared.errors import (
    ConfigError,
    DataError,
    FedLoomError,
    LedgerError,
    ModelError,
    PlanError,
)
from fedloom.shared.wire.envelope import Envelope
from fedloom.shared.wire.messages import DeclaredBudget, HelloHeader, TrainTask
from tests.support.served import a_question
from tests.support.sites import a_policy, a_site, a_site_config, write_settings
from tests.support.training import make_plan, site_plan

ROWS, ASKERS = 60, 8


@pytest.fixture
def config(tmp_path: Path, tiny_model: Path) -> SiteConfig:
    return a_site(tmp_path, model=tiny_model, rows=ROWS)


@pytest.fixture
def desk(config: SiteConfig) -> SiteDesk:
    policy = a_policy(min_units=10, epsilon=50.0)
    return SiteDesk(write_settings(config, policy), SiteDirectory())


def budget(desk: SiteDesk) -> DeclaredBudget | None:
    return HelloHeader.parse(desk.hello(a_question()).frame.header).budget


@pytest.mark.parametrize(
    "error",
    [
        LedgerError("ledger"),
        ModelError("model"),
        DataError("data"),
        PlanError("plan"),
        ConfigError("site.toml", ["problem"]),
    ],
)
def test_a_budget_that_cannot_be_told_is_none_and_the_site_has_its_name(
    desk: SiteDesk,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    error: FedLoomError,
) -> None:
    def fails(_: SiteService) -> DeclaredBudget:
        raise error

    monkeypatch.setattr(SiteService, "budget", fails)
    with caplog.at_level(logging.ERROR, logger="fedloom.site"):
        found = HelloHeader.parse(desk.hello(a_question()).frame.header)
    assert (found.site, found.budget) == ("north", None)
    (record,) = caplog.records
    assert str(error) in record.getMessage() and record.exc_info is None


@pytest.mark.parametrize("unit", ["", "x" * 201])
def test_a_unit_that_no_hello_could_tell_is_refused_in_the_settings(
    tmp_path: Path, unit: str
) -> None:
    """Else each hello would fail, and nothing would say why."""
    config = a_site_config(tmp_path)
    source = config.source.model_copy(update={"unit": unit})
    settings = write_settings(config.model_copy(update={"source": source}), a_policy())
    with pytest.raises(ConfigError, match=r"source\.unit: got .* characters?$"):
        read_site_config(settings)


def test_the_longest_unit_is_told(config: SiteConfig) -> None:
    source = config.source.model_copy(update={"unit": "x" * 200})
    settings = write_settings(config.model_copy(update={"source": source}), a_policy())
    found = budget(SiteDesk(settings, SiteDirectory()))
    assert found is not None and found.unit == "x" * 200


def test_a_flood_waits_for_its_turn_and_holds_no_task_up(
    desk: SiteDesk, config: SiteConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SQLite's own wait is short here, and reading takes its time, as for a long ledger."""
    site = site_plan(rate=20 / ROWS, units=ROWS)
    plan = make_plan(config.model, batch=20, site=site, seed=None)
    task = TrainTask(plan=plan, site="north", round=1, adapter=Trainer(plan, config.model).start)
    honest_connect, honest_read = sqlite3.connect, ledger_module.read_chain

    def impatient(path: Path, **more: Any) -> sqlite3.Connection:
        return honest_connect(path, timeout=0.0, **more)

    def slow(entries: list[Signed], public_key: str) -> Chain:
        time.sleep(0.01)
        return honest_read(entries, public_key)

    monkeypatch.setattr(store.sqlite3, "connect", impatient)
    monkeypatch.setattr(ledger_module, "read_chain", slow)
    told: list[DeclaredBudget | None] = []

    def ask() -> None:
        told.extend(budget(desk) for _ in range(3))

    askers = [threading.Thread(target=ask) for _ in range(ASKERS)]
    for asker in askers:
        asker.start()
    answer = json.loads(desk.train(Envelope(frame=task.pack())).frame.header)
    for asker in askers:
        asker.join(30)
    assert len(told) == 3 * ASKERS and None not in told
    assert "rule" not in answer
