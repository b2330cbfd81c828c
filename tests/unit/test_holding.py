"""That a service is the only one of its dataset, and stays with what it began with."""

import json
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from fedloom.client.ledger.ledger import Ledger
from fedloom.client.site.config import SiteConfig
from fedloom.client.site.desk import SiteDesk
from fedloom.client.site.holding import ready_to_serve, sole_service
from fedloom.client.training.trainer import Trainer
from fedloom.shared.errors import ConfigError, LedgerError
from fedloom.shared.wire.envelope import Envelope
from fedloom.shared.wire.messages import HelloHeader, TrainTask
from tests.support.served import a_question
from tests.support.sites import a_policy, a_site, a_site_config, begin, write_settings
from tests.support.tiny import sentences, write_csv
from tests.support.training import make_plan, site_plan

ROWS, BATCH = 60, 20
POLICY = a_policy(min_units=10, epsilon=50.0)


@dataclass(frozen=True, kw_only=True)
class Serving:
    """A site whose service holds its dataset, in this process."""

    config: SiteConfig
    settings: Path
    desk: SiteDesk

    def rule(self, number: int = 1) -> str | None:
        """The rule that a task is refused by, or None."""
        site = site_plan(rate=BATCH / ROWS, units=ROWS).model_copy(update={"steps": 2})
        plan = make_plan(self.config.model, batch=BATCH, site=site, seed=None)
        plan = plan.model_copy(update={"rounds": plan.rounds.model_copy(update={"total": 2})})
        start = Trainer(plan, self.config.model).start
        task = TrainTask(plan=plan, site="north", round=number, adapter=start)
        header = json.loads(self.desk.train(Envelope(frame=task.pack())).frame.header)
        found: str | None = header.get("rule")
        return found

    def charged(self, state: Path | None = None) -> int:
        """Rounds that a state folder's ledger was charged for."""
        return len(Ledger(state or self.config.state).entries())


@pytest.fixture
def config(tmp_path: Path, tiny_model: Path) -> SiteConfig:
    found = a_site(tmp_path, model=tiny_model, rows=ROWS)
    for path in (found.source.path, write_settings(found, POLICY), found.policy):
        path.chmod(0o600)
    return found


@pytest.fixture
def serving(config: SiteConfig) -> Iterator[Serving]:
    settings = config.policy.with_name("site.toml")
    with ready_to_serve(settings) as ready:
        yield Serving(config=config, settings=settings, desk=ready.desk)


def another(config: SiteConfig, name: str = "other") -> SiteConfig:
    """A site with a state folder of its own over the same records."""
    found = config.model_copy(update={"state": config.state.with_name(name)})
    begin(found)
    return found


def test_one_service_for_one_dataset(tmp_path: Path) -> None:
    """By its state folder, and by its records: two ledgers over one file know of no other."""
    config = a_site_config(tmp_path)
    with pytest.raises(ConfigError, match="expected the site's records"), sole_service(config):
        pass
    write_csv(config.source.path, sentences(3, seed=1))
    with pytest.raises(LedgerError, match="put the newest copy"), sole_service(config):
        pass
    assert not config.state.exists(), "in the way of its copy"
    begin(config)
    other = config.model_copy(update={"state": tmp_path / "other"})
    begin(other)
    with sole_service(config):
        for rival in (config, other):
            with (
                pytest.raises(ConfigError, match="trainer service runs"),
                sole_service(rival),
            ):
                pass
    with sole_service(other):
        pass


def records_by_rename(config: SiteConfig) -> None:
    draft = config.source.path.with_suffix(".draft")
    draft.write_bytes(config.source.path.read_bytes())
    draft.replace(config.source.path)


def records_gone(config: SiteConfig) -> None:
    config.source.path.unlink()


def records_by_link(config: SiteConfig) -> None:
    moved = config.source.path.with_name("elsewhere.csv")
    moved.write_bytes(config.source.path.read_bytes())
    config.source.path.unlink()
    config.source.path.symlink_to(moved)


def state_by_copy(config: SiteConfig) -> None:
    config.state.rename(config.state.with_name("before"))
    begin(config)


def lock_gone(config: SiteConfig) -> None:
    (config.state / "serving.lock").unlink()


@pytest.mark.parametrize(
    "replace", [records_by_rename, records_gone, records_by_link, state_by_copy, lock_gone]
)
def test_what_was_replaced_while_it_is_served_trains_no_more(
    serving: Serving,
    caplog: pytest.LogCaptureFixture,
    replace: Callable[[SiteConfig], None],
) -> None:
    """The locks stay with the files before: another service can have these, and spend anew."""
    replace(serving.config)
    with caplog.at_level(logging.WARNING, logger="fedloom.site"):
        assert serving.rule() == "replaced"
    (said,) = caplog.messages
    assert "replaced since the service began" in said and "a restart" in said
    assert serving.charged() == 0
    assert "replaced" in serving.desk.hello(a_question()).frame.header


def test_a_replaced_file_can_be_another_services_and_then_is_not_ours(serving: Serving) -> None:
    """Without the check the two would each charge their own ledger for the same records."""
    rival = another(serving.config)
    with pytest.raises(ConfigError, match="trainer service runs"), sole_service(rival):
        pass
    records_by_rename(serving.config)
    with sole_service(rival):
        assert serving.rule() == "replaced"


def test_what_was_replaced_while_it_trained_is_not_sealed(
    serving: Serving, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may be the other file that was read, which another service has by now."""
    honest = Trainer.train

    def train(self: Trainer, *args: Any, **more: Any) -> NDArray[np.float32]:
        records_by_rename(serving.config)
        return honest(self, *args, **more)

    monkeypatch.setattr(Trainer, "train", train)
    assert serving.rule() == "replaced"
    events = [entry.event for entry in Ledger(serving.config.state).entries()]
    assert events == ["reserved"], "charged, as for any task that breaks off; nothing left"


def test_what_was_put_back_is_served_on_and_what_was_written_in_place_too(
    serving: Serving,
) -> None:
    path = serving.config.source.path
    aside = path.rename(path.with_name("aside.csv"))
    assert serving.rule() == "replaced"
    aside.rename(path)
    write_csv(path, sentences(ROWS, seed=2))
    assert serving.rule() is None
    # Neither of the two is what is held: they are read anew for each task.
    for settings in (serving.settings, serving.config.policy):
        draft = settings.with_suffix(".draft")
        draft.write_bytes(settings.read_bytes())
        draft.replace(settings)
    assert serving.rule(2) is None


def test_records_behind_a_link_are_the_file_that_it_names(config: SiteConfig) -> None:
    path, first = config.source.path, config.source.path.with_name("first.csv")
    path.rename(first)
    path.symlink_to(first)
    settings = config.policy.with_name("site.toml")
    with ready_to_serve(settings) as ready:
        serving = Serving(config=config, settings=settings, desk=ready.desk)
        assert serving.rule() is None
        path.unlink()
        path.symlink_to(write_csv(path.with_name("second.csv"), sentences(ROWS, seed=2)))
        assert serving.rule(2) == "replaced"


def test_a_restart_takes_what_was_replaced(serving: Serving, config: SiteConfig) -> None:
    records_by_rename(config)
    config.state.rename(config.state.with_name("before"))
    begin(config)
    with ready_to_serve(serving.settings) as ready:
        again = Serving(config=config, settings=serving.settings, desk=ready.desk)
        assert again.rule() is None


@pytest.mark.parametrize("kind", ["state", "records"])
def test_settings_that_name_another_dataset_are_not_followed(serving: Serving, kind: str) -> None:
    """Nor is the one before: which of the two is meant, a person says by a restart."""
    config = serving.config
    other = another(config)
    if kind == "records":
        path = write_csv(config.source.path.with_name("more.csv"), sentences(ROWS, seed=3))
        source = config.source.model_copy(update={"path": path})
        other = config.model_copy(update={"source": source})
    assert serving.rule() is None
    before = serving.charged()
    write_settings(other, POLICY)
    assert serving.rule(2) == "cannot-train"
    assert "cannot-answer" in serving.desk.hello(a_question()).frame.header
    assert serving.charged() == before
    assert serving.charged(config.state.with_name("other")) == 0
    write_settings(config, POLICY)
    assert serving.rule(2) is None
    assert HelloHeader.parse(serving.desk.hello(a_question()).frame.header).site == "north"


def policy_of(config: SiteConfig) -> Path:
    return config.policy


def settings_of(config: SiteConfig) -> Path:
    return config.policy.with_name("site.toml")


def records_of(config: SiteConfig) -> Path:
    return config.source.path


@pytest.mark.parametrize(
    ("of", "words"),
    [
        (settings_of, "write it, and with it decide what leaves"),
        (policy_of, "write it, and with it decide what leaves"),
        (records_of, "write it, and with it decide what is trained on"),
    ],
)
def test_what_every_user_may_write_is_not_served(
    config: SiteConfig, of: Callable[[SiteConfig], Path], words: str
) -> None:
    path = of(config)
    path.chmod(0o602)
    said = f"{path}: mode 602 lets every user of this machine {words}"
    with pytest.raises(ConfigError) as caught, ready_to_serve(settings_of(config)):
        pass
    assert caught.value.problems == (said,)
    # As in site check, a group may be meant: that is told, and served.
    path.chmod(0o620)
    with ready_to_serve(settings_of(config)) as ready:
        assert ready.warnings == [f"{path}: mode 620 lets its group {words}"]
