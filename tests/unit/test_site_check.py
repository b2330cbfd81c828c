"""`fedloom site check`: each thing that may be wrong is seen, at its level, without a record."""

import json
import os
import shutil
import sqlite3
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from click.testing import CliRunner

from fedloom.cli.commands.site_setup import check
from fedloom.client.ledger.entries import charge_of
from fedloom.client.site.beginning import begin_site
from fedloom.client.site.checking import CHECKS, Check, check_site, has_problem, page
from fedloom.client.site.checks.finding import Finding, Level, Seen, Site
from fedloom.client.site.config import SiteConfig, read_site_config
from fedloom.client.site.holding import sole_service
from fedloom.client.site.new_site import NewSite
from fedloom.client.site.opening import approvals_of, ledger_of
from fedloom.client.site.policy.document import read_policy
from fedloom.shared.wire.frame import Frame
from tests.support.plans import a_plan, a_site, a_task
from tests.support.sites import a_policy, begin
from tests.support.tiny import sentences, write_csv
from tests.support.training import LABELS

ROWS = 200
HIDDEN = "zyxwv"


@dataclass(frozen=True, kw_only=True)
class Home:
    """A site in a folder, and ways to break it."""

    settings: Path

    @property
    def config(self) -> SiteConfig:
        return read_site_config(self.settings)

    @property
    def state(self) -> Path:
        return self.settings.with_name("state")

    @property
    def policy(self) -> Path:
        return self.settings.with_name("policy.toml")

    @property
    def records(self) -> Path:
        return self.settings.with_name("records.csv")

    def change(self, section: str = "", **keys: object) -> None:
        """Write the settings with other values."""
        tree = self.config.model_dump()
        (tree[section] if section else tree).update(keys)
        self.settings.write_text(SiteConfig.model_validate(tree).to_toml(), encoding="utf-8")

    def allow(self, **keys: object) -> None:
        """Write another policy."""
        self.policy.write_text(a_policy(**keys).to_toml(), encoding="utf-8")

    def own_model(self) -> Path:
        """A copy of the model that may be broken, and that the policy allows."""
        folder = self.settings.with_name("model")
        shutil.copytree(self.config.model, folder)
        self.change(model=folder)
        self.allow()
        return folder

    def write_rows(self, rows: Iterable[dict[str, str]]) -> None:
        write_csv(self.records, list(rows))

    def charge(self, **changes: object) -> None:
        """Charge and release a round of a plan."""
        task, ledger = a_task(plan=a_plan(**changes)), ledger_of(self.config)
        ledger.reserve(charge_of(task))
        ledger.seal(charge_of(task), Frame(header="{}", payload=b""))

    def seen(self, topic: str, level: Level) -> list[str]:
        """What is found of one kind."""
        found = check_site(self.settings)
        return [each.text for each in found if (each.topic, each.level) == (topic, level)]


@pytest.fixture
def home(tmp_path: Path, tiny_model: Path) -> Home:
    """A site with nothing wrong."""
    folder = tmp_path / "site"
    folder.mkdir(mode=0o700)
    records = write_csv(folder / "records.csv", sentences(ROWS, seed=1))
    records.chmod(0o600)
    begin_site(
        NewSite(folder=folder, name="north", records=records, model=tiny_model, labels=LABELS)
    )
    return Home(settings=folder / "site.toml")


def everything_in(folder: Path) -> dict[str, tuple[int, bytes]]:
    return {
        str(path): (path.stat().st_mode, path.read_bytes() if path.is_file() else b"")
        for path in sorted(folder.rglob("*"))
    }


def test_a_good_site_has_no_warning_and_is_left_as_it_was(home: Home) -> None:
    before = everything_in(home.settings.parent)
    found = check_site(home.settings)
    assert [each for each in found if each.level != "good"] == []
    assert {each.topic for each in found} == {"settings", *(each.topic for each in CHECKS)}
    assert everything_in(home.settings.parent) == before


def replace(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")


def no_header(home: Home) -> None:
    lines = home.records.read_text().splitlines(keepends=True)
    home.records.write_text("".join(lines[1:]))


def another_case(home: Home) -> None:
    home.write_rows({("Label" if k == "label" else k): v for k, v in r.items()} for r in rows())


def rows(count: int = ROWS) -> list[dict[str, str]]:
    return sentences(count, seed=1)


def with_bad_rows(home: Home) -> None:
    wrong = {"text": f"{HIDDEN} text", "label": f"{HIDDEN}label", "author": f"{HIDDEN}unit"}
    home.write_rows([*rows(), wrong, wrong])


def one_label_only(home: Home) -> None:
    home.write_rows(row | {"label": "positive"} for row in rows())


RECORDS: list[tuple[Callable[[Home], object], Level, str]] = [
    (lambda home: home.records.unlink(), "problem", "records.csv: no such file"),
    (lambda home: home.records.write_text(""), "problem", "records.csv: empty file"),
    (no_header, "problem", "no column text, label among the 3 names of its header; is the header"),
    (another_case, "problem", "no column label among the 3 names of its header; there is 'Label'"),
    (
        lambda home: home.change("source", unit="patient"),
        "problem",
        "no column patient among the 3 names",
    ),
    (with_bad_rows, "good", "200 rows usable"),
    (
        with_bad_rows,
        "warning",
        "2 rows left out, the first at row 201, column label: a label outside the label set",
    ),
    (lambda home: home.change(labels=("a", "b")), "problem", "none of 200 rows is usable, the fir"),
    (lambda home: home.change(declared_units=200), "warning", "declared_units is 200: more than "),
    (lambda home: home.change(declared_units=170), "good", "declared_units is 170"),
    (lambda home: home.write_rows(rows(60)), "problem", "expected budget.min_units = 100"),
    (one_label_only, "warning", "no usable row has the label negative"),
    (lambda home: home.change(labels=("negative",)), "problem", "labels are negative; expected at"),
    (lambda home: home.change(labels=()), "good", "no labels: any text is an answer"),
]


@pytest.mark.parametrize(("break_it", "level", "words"), RECORDS)
def test_what_is_wrong_with_records(
    home: Home, break_it: Callable[[Home], object], level: Level, words: str
) -> None:
    break_it(home)
    assert any(words in text for text in home.seen("records", level))


@pytest.mark.parametrize("break_it", [no_header, another_case, with_bad_rows, one_label_only])
def test_nothing_that_a_record_holds_is_printed(
    home: Home, break_it: Callable[[Home], object]
) -> None:
    break_it(home)
    said = CliRunner().invoke(check, [str(home.settings)]).output
    held = {row[column] for row in rows() for column in ("text", "author")}
    assert "records" in said and HIDDEN not in said
    assert not [value for value in held if value in said]


def test_a_label_is_not_taken_for_a_columns_name(home: Home) -> None:
    home.records.write_text(f"some words,{HIDDEN},a1\n")
    said = CliRunner().invoke(check, [str(home.settings)]).output
    assert "is the header there?" in said and HIDDEN not in said


def quantised(home: Home) -> None:
    path = home.own_model() / "config.json"
    config = json.loads(path.read_text()) | {"quantization_config": {"quant_method": "awq"}}
    path.write_text(json.dumps(config))


def another_tokenizer(home: Home) -> None:
    # A file of another version of the library: JSON, but with a model that it does not know.
    path = home.own_model() / "tokenizer.json"
    tree = json.loads(path.read_text())
    path.write_text(json.dumps(tree | {"model": {"type": "Unknown", "vocab": {}}}))


MODEL: list[tuple[Callable[[Home], object], str]] = [
    (lambda home: home.change(model=home.state / "none"), "none: expected config.json and *.safe"),
    (
        lambda home: (home.own_model() / "model.safetensors").write_bytes(b"x"),
        "model.safetensors: d",
    ),
    (lambda home: home.allow(models=("ab" * 32,)), "is not in allow.models: every plan would be"),
    (quantised, "weights are quantised already"),
    (another_tokenizer, "config or tokenizer cannot be loaded"),
    (lambda home: (home.own_model() / "config.json").write_text("{"), "cannot be loaded (OSError"),
]


@pytest.mark.parametrize(("break_it", "words"), MODEL)
def test_what_is_wrong_with_the_model(
    home: Home, break_it: Callable[[Home], object], words: str
) -> None:
    break_it(home)
    assert any(words in text for text in home.seen("model", "problem"))


POLICY: list[tuple[Callable[[Home], object], Level, str]] = [
    (lambda home: home.policy.unlink(), "problem", "policy.toml: no such file"),
    (lambda home: home.policy.unlink(), "warning", "what follows is by the default policy"),
    (lambda home: home.policy.unlink(), "good", "(default) epsilon 8 at delta 1e-05"),
    (
        lambda home: replace(home.policy, "max_rank", "max_rang"),
        "problem",
        "did you mean max_rank?",
    ),
    (lambda home: replace(home.policy, "[budget]", "[budget"), "problem", "not TOML"),
    (
        lambda home: home.allow(epsilon=2.0, epsilon_per_run=4.0),
        "problem",
        "budget.epsilon_per_run 4 is more than budget.epsilon 2",
    ),
    (lambda home: home.allow(delta=0.01), "problem", "budget.delta 0.01 does not protect among 1"),
    (lambda home: home.allow(min_units=500), "problem", "expected at least budget.min_units = 500"),
    (
        lambda home: home.allow(seeded_noise=True),
        "warning",
        "allow.seeded_noise is on: it protects",
    ),
    (lambda home: home.allow(without_privacy=True), "warning", "it protects nobody"),
]


@pytest.mark.parametrize(("break_it", "level", "words"), POLICY)
def test_what_is_wrong_with_the_policy(
    home: Home, break_it: Callable[[Home], object], level: Level, words: str
) -> None:
    break_it(home)
    assert any(words in text for text in home.seen("policy", level))


def test_every_mistake_in_both_files_is_told_when_settings_cannot_be_read(home: Home) -> None:
    replace(home.settings, 'name = "north"', 'nam = "north"')
    replace(home.settings, "declared_units = 1", "declared_units = -1")
    replace(home.policy, "epsilon = 8.0", "epsilon = 0")
    told = "\n".join(page(home.settings, check_site(home.settings)))
    assert "name: missing" in told and "did you mean name?" in told
    assert "declared_units: got -1" in told and "budget.epsilon: got 0" in told
    assert "nothing else is looked at" in told and "counts records" not in told
    home.settings.unlink()
    assert "no such file, expected a site.toml" in home.seen("settings", "problem")[0]


def forged_approval(home: Home) -> None:
    plan = a_plan()
    approvals_of(home.config).approve(plan, ledger_of(home.config).signer())
    path = home.state / "approvals" / f"{plan.sha256}.approval"
    path.rename(path.with_stem("cd" * 32))


def test_approvals_wait_and_are_the_sites_own(home: Home) -> None:
    home.allow(mode="manual")
    assert home.seen("approvals", "good") == ["each plan waits for fedloom site approve"]
    plan = a_plan()
    folder = home.state / "approvals"
    folder.mkdir(mode=0o700)
    (folder / f"{plan.sha256}.plan").write_bytes(plan.canonical())
    assert home.seen("approvals", "warning") == [
        f"1 plan waiting for a steward: {plan.sha256[:12]}"
    ]
    approvals_of(home.config).approve(plan, ledger_of(home.config).signer())
    assert not home.seen("approvals", "warning") and not home.seen("approvals", "problem")
    forged_approval(home)
    assert "not signed by the site's key" in home.seen("approvals", "problem")[0]
    (folder / f"{'cd' * 32}.approval").write_text("{}")
    (damaged,) = home.seen("approvals", "problem")
    assert damaged.endswith("damaged, expected a signed approval")


def test_a_waiting_plan_that_was_changed_is_a_problem(home: Home) -> None:
    (home.state / "approvals").mkdir()
    (home.state / "approvals" / f"{'ab' * 32}.plan").write_bytes(b"{}")
    assert "expected abababababab" in home.seen("approvals", "problem")[0]


def test_a_state_folder_that_is_lost_or_open(home: Home) -> None:
    home.state.chmod(0o750)
    assert "mode 750 lets others in, expected 700" in home.seen("state", "problem")[0]
    shutil.rmtree(home.state)
    found = check_site(home.settings)
    problems = {each.topic for each in found if each.level == "problem"}
    assert problems == {"state", "key", "ledger"} and not home.state.exists()
    assert "put the newest copy back" in home.seen("state", "problem")[0]


def wrong_passphrase(home: Home) -> None:
    path = home.settings.with_name("passphrase")
    path.write_text("open sesame")
    path.chmod(0o600)
    home.change("key", passphrase_file=path)


KEY: list[tuple[Callable[[Home], object], str]] = [
    (lambda home: (home.state / "site.key").unlink(), "site.key: no such file"),
    (lambda home: (home.state / "site.key").chmod(0o644), "mode 644, expected 600, owner only"),
    (
        lambda home: home.change("key", passphrase_file=home.state / "none"),
        "none: no such file, expected the passphrase",
    ),
    (wrong_passphrase, "it is not encrypted, but a passphrase was given"),
]


@pytest.mark.parametrize(("break_it", "words"), KEY)
def test_what_is_wrong_with_the_key(
    home: Home, break_it: Callable[[Home], object], words: str
) -> None:
    break_it(home)
    assert any(words in text for text in home.seen("key", "problem"))
    assert "cannot be verified without the key" in home.seen("ledger", "problem")


def test_what_the_ledger_has_spent_and_what_waits(home: Home) -> None:
    assert "epsilon 0.00 of 8 spent" in home.seen("ledger", "good")[1]
    home.charge()
    ledger_of(home.config).reserve(charge_of(a_task(round_number=2)))
    good = home.seen("ledger", "good")
    assert good[0] == "whole and signed: 4 entries"
    assert "epsilon 0.00 of 8" not in good[1] and "at delta 1e-05 for each record" in good[1]
    assert good[2] == "1 round reserved, not released: counted as spent"
    home.allow(epsilon=0.01)
    assert "every private plan would be refused" in home.seen("ledger", "problem")[0]


def test_a_past_without_privacy_leaves_nothing_but_simulations(home: Home) -> None:
    home.charge(sites=(a_site("north", noise_multiplier=0.0, epsilon=None),))
    assert "no epsilon is left" in home.seen("ledger", "problem")[0]
    home.allow(without_privacy=True)
    assert "no epsilon is left" in home.seen("ledger", "warning")[0]


def test_a_ledger_that_was_changed_or_is_another_sites(home: Home) -> None:
    home.change(name="south")
    assert "ledger of site north, expected south" in home.seen("ledger", "problem")[0]
    with sqlite3.connect(home.state / "ledger.sqlite") as connection:
        connection.execute("DROP TRIGGER entries_stay")
    connection.close()
    assert "another schema" in home.seen("ledger", "problem")[0]


def test_whether_a_service_runs_now(home: Home) -> None:
    assert home.seen("service", "good") == ["no trainer service runs now"]
    with sole_service(home.config):
        assert home.seen("service", "good") == ["a trainer service runs now for this site"]
    other = home.config.model_copy(update={"state": home.settings.with_name("other")})
    begin(other)
    with sole_service(other):
        assert "each would spend the whole budget" in home.seen("service", "problem")[0]
    # Looking held nothing back.
    with sole_service(home.config):
        pass


ADDRESS: list[tuple[Callable[[Home], object], Level, str]] = [
    (
        lambda home: home.change("service", address="0.0.0.0:4000"),
        "problem",
        "0.0.0.0:4000, expected unix:PATH",
    ),
    (
        lambda home: home.change("service", address="127.0.0.1:4000"),
        "problem",
        "without TLS certificates",
    ),
    (lambda home: home.change("service", address=f"unix:{'x' * 200}"), "problem", "socket path of"),
    (
        lambda home: home.change("service", address="unix:none/trainer.sock"),
        "problem",
        "none: no such folder",
    ),
    (lambda home: home.settings.parent.chmod(0o777), "problem", "listen in the service's place"),
    (lambda home: home.settings.parent.chmod(0o770), "warning", "mode 770 lets its group listen"),
    (
        lambda home: home.settings.with_name("trainer.sock").touch(),
        "problem",
        "trainer.sock: another file is there",
    ),
]


@pytest.mark.parametrize(("break_it", "level", "words"), ADDRESS)
def test_what_is_wrong_with_the_address(
    home: Home, break_it: Callable[[Home], object], level: Level, words: str
) -> None:
    break_it(home)
    assert any(words in text for text in home.seen("address", level))


def test_a_certificates_key_is_the_owners_alone(home: Home) -> None:
    tls = home.settings.with_name("tls")
    tls.mkdir()
    for name in ("ca.pem", "service.pem", "service.key"):
        (tls / name).touch()
    home.change("service", address="127.0.0.1:4000", tls=tls)
    (tls / "service.key").chmod(0o600)
    assert home.seen("address", "good") == ["127.0.0.1:4000"]
    (tls / "service.key").chmod(0o640)
    assert "service.key: mode 640, expected 600" in home.seen("address", "problem")[0]


def test_disks_without_room(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    free = 10_000_000_000
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=free))
    # One disk has both, the hidden states and the updates.
    home.change("cache", folder=home.settings.with_name("kept"), max_bytes=4_000_000_000)
    assert home.seen("disk", "good") == [f"{home.state}: 10.0 GB free; up to 4.0 GB may be needed"]
    free = 3_000_000_000
    assert "(cache.max_bytes, and limits.max_rounds updates)" in home.seen("disk", "warning")[0]
    home.change("cache", max_bytes=0)
    assert not home.seen("disk", "warning")
    free = 20_000_000
    assert "20 MB free" in home.seen("disk", "problem")[0]


def test_a_device_that_is_not_there(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert home.seen("device", "good") == ["trains on cpu"]
    home.change("compute", device="cuda")
    assert "there is no CUDA device" in home.seen("device", "problem")[0]


FILES: list[tuple[str, int, Level, str]] = [
    ("site.toml", 0o602, "problem", "mode 602 lets every user of this machine write it"),
    ("policy.toml", 0o620, "warning", "mode 620 lets its group write it"),
    ("records.csv", 0o602, "problem", "mode 602 lets every user of this machine write it"),
    ("policy.toml", 0o644, "warning", "mode 644 lets every user of this machine read it"),
    ("records.csv", 0o644, "warning", "mode 644 lets every user of this machine read it"),
]


@pytest.mark.parametrize(("name", "mode", "level", "words"), FILES)
def test_files_that_are_open_to_others(
    home: Home, name: str, mode: int, level: Level, words: str
) -> None:
    home.settings.with_name(name).chmod(mode)
    assert home.seen("files", level) == [
        text for text in home.seen("files", level) if name in text and words in text
    ]
    assert home.seen("files", level)


def test_an_error_of_the_system_is_a_finding_and_the_rest_still_runs(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    def look(_: Site) -> Iterable[Seen]:
        yield Seen(level="good", text="began")
        raise PermissionError(13, "Permission denied", "records.csv")

    site = Site(settings=home.settings, config=home.config, policy=read_policy(home.policy))
    found = list(Check(topic="records", look=look).findings(site))  # type: ignore[arg-type]
    assert [(each.level, each.text) for each in found] == [
        ("good", "began"),
        ("problem", "records.csv: Permission denied"),
    ]
    home.records.unlink()
    shutil.rmtree(home.state)
    home.change(model=home.state)
    topics = {each.topic for each in check_site(home.settings)}
    assert topics == {"settings", *(each.topic for each in CHECKS)}


def test_the_page_is_aligned_and_its_exit_code_tells_of_problems(home: Home) -> None:
    run = CliRunner()
    good = run.invoke(check, [str(home.settings)])
    assert good.exit_code == 0 and "0 problems, 0 warnings: the site can join." in good.output
    home.records.chmod(0o644)
    assert run.invoke(check, [str(home.settings)]).exit_code == 0
    home.allow(delta=0.01)
    bad = run.invoke(check, [str(home.settings)])
    assert bad.exit_code == 1 and "1 problem, 1 warning: mend the problems first." in bad.output
    lines = bad.output.splitlines()[2:-3]
    assert {line[11:20].strip() for line in lines} == {"good", "warning", "problem"}
    assert all(len(line[20:].strip()) > 3 for line in lines)
    assert os.linesep.join(lines).count("records ") == 1


def test_a_sites_folder_is_as_good_as_its_file(home: Home) -> None:
    run = CliRunner()
    by_folder = run.invoke(check, [str(home.settings.parent)])
    assert by_folder.exit_code == 0
    assert by_folder.output == run.invoke(check, [str(home.settings)]).output
    home.settings.unlink()
    missing = run.invoke(check, [str(home.settings.parent)])
    assert missing.exit_code == 1
    assert f"{home.settings}: no such file, expected a site.toml" in missing.output


def test_a_wrong_label_set_is_one_line(home: Home) -> None:
    """Not also: too few units, far from the declared number, and no row for each label."""
    home.change(labels=("good", "bad"))
    said = [each.text for each in check_site(home.settings) if each.level != "good"]
    assert said == [
        "none of 200 rows is usable, the first at row 1, column label: a label outside the label "
        "set, expected one of good, bad"
    ]


def test_a_long_text_stays_one_line() -> None:
    def look(_: Site) -> Iterable[Seen]:
        yield Seen(level="problem", text="many\nwords " * 200)

    check_of_it = Check(topic="policy", look=look)  # type: ignore[arg-type]
    found = list(check_of_it.findings(None))  # type: ignore[arg-type]
    assert "\n" not in found[0].text and len(found[0].text) == 400
    assert has_problem(found) and not has_problem([Finding(topic="a", level="good", text="b")])
