"""`fedloom site init`: two files that explain themselves, and a ledger that is begun once."""

import tomllib
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from fedloom.cli.commands.site_setup import check, init
from fedloom.client.rpc.address import read_address
from fedloom.client.rpc.remote import RemoteSite
from fedloom.client.rpc.serving import serving
from fedloom.client.site.beginning import begin_site
from fedloom.client.site.commented import Note, commented
from fedloom.client.site.config import SiteConfig, read_site_config
from fedloom.client.site.desk import SiteDesk
from fedloom.client.site.directory import SiteDirectory
from fedloom.client.site.new_site import Counted, NewSite, counted, public_size
from fedloom.client.site.notes import POLICY_NOTES, SITE_NOTES
from fedloom.client.site.opening import ledger_of
from fedloom.client.site.policy.document import AllowSection, Policy, read_policy
from fedloom.shared.data.records import count_units, read_records
from fedloom.shared.errors import (
    ConfigError,
    CredentialError,
    DataError,
    FedLoomError,
    LedgerError,
    ModelError,
)
from fedloom.shared.model.base import fingerprint
from fedloom.shared.wire.messages import HelloHeader
from tests.support.served import a_question
from tests.support.sites import a_policy, a_site_config
from tests.support.tiny import sentences, write_csv
from tests.support.training import LABELS

ROWS = 1200


@pytest.fixture
def records(tmp_path: Path) -> Path:
    return write_csv(tmp_path / "records.csv", sentences(ROWS, seed=1))


@pytest.fixture
def wanted(tmp_path: Path, records: Path, tiny_model: Path) -> NewSite:
    return NewSite(
        folder=tmp_path / "hospital",
        name="north",
        records=records,
        model=tiny_model,
        labels=LABELS,
    )


def changed(wanted: NewSite, **fields: object) -> NewSite:
    return NewSite(**(vars(wanted) | fields))  # type: ignore[arg-type]


def run_init(wanted: NewSite, *more: str) -> Result:
    options = ["--name", wanted.name, "--records", str(wanted.records)]
    arguments = [str(wanted.folder), *options, "--model", str(wanted.model), *more]
    return CliRunner().invoke(init, arguments)


def test_its_files_read_back_and_hold_what_was_given(wanted: NewSite, tiny_model: Path) -> None:
    begun = begin_site(wanted)
    config = read_site_config(wanted.folder / "site.toml")
    assert (config.name, config.labels, config.model) == ("north", LABELS, tiny_model)
    assert config.state == wanted.folder / "state"
    assert (config.source.path, config.source.unit) == (wanted.records, "record")
    assert (config.source.text, config.source.label) == ("text", "label")
    assert config.policy == wanted.folder / "policy.toml"
    expected = Policy.usual(AllowSection(models=(fingerprint(tiny_model),)))
    assert read_policy(config.policy) == expected
    chain = ledger_of(config).chain()
    assert (chain.opening.site, chain.length) == ("north", 1)
    assert chain.opening.public_key == begun.public_key


def test_everything_it_makes_is_the_owners_alone(wanted: NewSite) -> None:
    begin_site(wanted)
    for path in (wanted.folder, wanted.folder / "state"):
        assert path.stat().st_mode & 0o777 == 0o700
    for name in ("site.toml", "policy.toml", "state/site.key", "state/ledger.sqlite"):
        assert (wanted.folder / name).stat().st_mode & 0o777 == 0o600


def test_what_lies_in_its_folder_moves_with_it(wanted: NewSite, tmp_path: Path) -> None:
    wanted.folder.mkdir()
    inside = wanted.records.rename(wanted.folder / "records.csv")
    phrase = wanted.folder / "phrase"
    phrase.write_text("open sesame")
    phrase.chmod(0o600)
    begin_site(changed(wanted, records=inside, passphrase_file=phrase))
    moved = wanted.folder.rename(tmp_path / "clinic")
    config = read_site_config(moved / "site.toml")
    assert (config.source.path, config.state) == (moved / "records.csv", moved / "state")
    assert ledger_of(config).chain().length == 1


def test_units_are_counted_after_the_split_and_rounded_down(wanted: NewSite) -> None:
    begun = begin_site(wanted)
    config = read_site_config(wanted.folder / "site.toml")
    records = read_records(config.record_source(), labels=LABELS)
    units = count_units(config.record_split().training(records), unit="record")
    assert begun.counted == counted(config) == Counted(units=units, left_out="")
    assert config.declared_units == begun.declared_units == units // 10 * 10 < units < ROWS
    said = "\n".join(begun.lines())
    assert f"{begun.declared_units:,} ({units:,} training units counted" in said
    assert "PUBLIC: each coordinator is told this number" in said


def test_units_by_a_column_are_counted_by_it(wanted: NewSite) -> None:
    begun = begin_site(changed(wanted, unit="author"))
    assert begun.counted is not None and begun.counted.units <= ROWS // 5


def test_rows_that_are_left_out_are_told_and_most_of_them_begin_nothing(
    wanted: NewSite, tmp_path: Path
) -> None:
    """A mistyped label is no small site."""
    rows = sentences(ROWS, seed=1)
    for row in rows[: ROWS // 4]:
        row["label"] = "postive"
    write_csv(wanted.records, rows)
    said = "\n".join(begin_site(wanted).lines())
    first = "the first at row 1, column label: a label outside the label set"
    assert f"note            300 of 1,200 rows left out, {first}" in said
    assert "postive" not in said
    for row in rows[ROWS // 4 : ROWS // 2 + 1]:
        row["label"] = "postive"
    write_csv(wanted.records, rows)
    again = changed(wanted, folder=tmp_path / "again")
    with pytest.raises(DataError, match=rf"601 of 1,200 rows left out, {first}.* expected most"):
        begin_site(again)
    assert not again.folder.exists()


def test_a_size_that_is_given_is_taken_and_no_record_is_read(wanted: NewSite) -> None:
    wanted.records.write_text("no table of ours\n")
    begun = begin_site(changed(wanted, units=5000))
    assert (begun.declared_units, begun.counted) == (5000, None)
    assert read_site_config(wanted.folder / "site.toml").declared_units == 5000


@pytest.mark.parametrize(
    ("units", "public"), [(1, 1), (99, 99), (101, 100), (4359, 4300), (99_999, 99_000)]
)
def test_a_public_size_has_two_digits(units: int, public: int) -> None:
    assert public_size(units) == public


def test_a_second_beginning_is_refused_and_changes_nothing(wanted: NewSite) -> None:
    begin_site(wanted)
    paths = [path for path in sorted(wanted.folder.rglob("*")) if path.is_file()]
    before = [path.read_bytes() for path in paths]
    for removed in ("site.toml", "policy.toml", None):
        with pytest.raises(LedgerError, match="begun once; left as it is") as refused:
            begin_site(changed(wanted, units=7))
        assert "\n" not in str(refused.value)
        assert [path.read_bytes() for path in paths if path.exists()] == before
        if removed:
            at = paths.index(wanted.folder / removed)
            paths.pop(at).unlink()
            before.pop(at)
    assert str(refused.value).startswith(f"{wanted.folder / 'state'}: holds a ledger")


REFUSED: list[tuple[dict[str, object], type[FedLoomError], str]] = [
    ({"labels": None}, ConfigError, "labels: missing; give the classes that the federation agreed"),
    ({"labels": ("a",)}, ConfigError, "labels: got a, expected at least 2"),
    ({"labels": ("a", "a")}, ConfigError, "labels: got a, a, expected at least 2, each once"),
    ({"labels": ("x", "y")}, DataError, "no row to train on; the first at row 1, column label"),
    ({"name": "no rth"}, ConfigError, "name: got 'no rth'"),
    ({"records": Path("none.csv")}, ConfigError, "no such file, expected the site's records"),
    ({"model": Path("none")}, ModelError, "expected config.json"),
    ({"text": "words"}, DataError, "no column words among the 3 names of its header"),
    ({"passphrase_file": Path("none")}, ConfigError, "no such file, expected the passphrase"),
]


@pytest.mark.parametrize(("fields", "kind", "words"), REFUSED)
def test_what_cannot_begin_leaves_nothing_behind(
    wanted: NewSite, fields: dict[str, object], kind: type[FedLoomError], words: str
) -> None:
    with pytest.raises(kind, match=words):
        begin_site(changed(wanted, **fields))
    assert not wanted.folder.exists()


def test_a_passphrase_locks_the_key_and_must_be_one(wanted: NewSite, tmp_path: Path) -> None:
    phrase = tmp_path / "phrase"
    phrase.write_text("\n")
    phrase.chmod(0o600)
    locked = changed(wanted, passphrase_file=phrase)
    with pytest.raises(ConfigError, match="empty, expected the passphrase"):
        begin_site(locked)
    phrase.write_text("open sesame\n")
    phrase.chmod(0o644)
    with pytest.raises(CredentialError, match="mode 644"):
        begin_site(locked)
    phrase.chmod(0o600)
    begin_site(locked)
    assert b"ENCRYPTED" in (wanted.folder / "state" / "site.key").read_bytes()
    assert read_site_config(wanted.folder / "site.toml").key.passphrase_file == phrase


def keys_of(model: type[BaseModel], *, within: str = "") -> set[str]:
    """All keys and sections, dotted."""
    found = set()
    for name, field in model.model_fields.items():
        found.add(f"{within}{name}")
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            found |= keys_of(kind, within=f"{name}.")
    return found


def test_every_key_has_a_note_and_no_note_is_of_another() -> None:
    assert set(POLICY_NOTES) == keys_of(Policy)
    assert set(SITE_NOTES) == keys_of(SiteConfig)


def test_each_key_is_written_under_its_comment(wanted: NewSite) -> None:
    begin_site(wanted)
    for name, model in (("site.toml", SiteConfig), ("policy.toml", Policy)):
        lines = (wanted.folder / name).read_text().splitlines()
        keys = {key.rpartition(".")[2] for key in keys_of(model)}
        written = [at for at, line in enumerate(lines) if line.lstrip("# ").split(" = ")[0] in keys]
        assert len(written) >= len(keys) - len(model.model_fields)
        assert all(lines[at - 1].startswith("# ") for at in written)
        assert max(map(len, lines)) <= 100


def test_a_key_without_a_value_is_shown_with_an_example(wanted: NewSite) -> None:
    begin_site(wanted)
    policy = wanted.folder / "policy.toml"
    assert "# epsilon_per_run = 4.0" in policy.read_text()
    policy.write_text(policy.read_text().replace("# epsilon_per_run", "epsilon_per_run"))
    assert read_policy(policy).budget.epsilon_per_run == 4.0


@given(st.lists(st.text(min_size=1), max_size=4), st.text())
def test_whatever_a_document_holds_is_read_back(targets: list[str], column: str) -> None:
    policy = a_policy(targets=tuple(targets), epsilon=1e-7, max_rounds=1_234_567)
    text = commented(policy, POLICY_NOTES, opening="a\nb")
    assert Policy.model_validate(tomllib.loads(text)) == policy
    config = a_site_config(Path("/home"), source={**_SOURCE, "text": column})
    text = commented(config, {"name": Note(text="its name")}, opening="")
    assert SiteConfig.model_validate(tomllib.loads(text)) == config


_SOURCE = {"path": Path("/home/r.csv"), "label": "label", "unit": "record"}


def test_the_command_begins_a_site_that_its_check_finds_good(wanted: NewSite) -> None:
    wanted.records.chmod(0o600)
    begun = run_init(wanted, "--labels", "negative, positive")
    site = wanted.folder / "site.toml"
    assert begun.exit_code == 0
    key = ledger_of(read_site_config(site)).signer().public
    assert f"ledger key      {key}\n" in begun.output
    assert f"  fedloom site check {site}\n  fedloom site serve {site}\n" in begun.output
    assert f"edit {wanted.folder / 'policy.toml'}" in begun.output
    checked = CliRunner().invoke(check, [str(site)])
    assert checked.exit_code == 0 and "0 problems, 0 warnings" in checked.output


def test_the_command_passes_errors_on_and_takes_no_labels_for_free_text(wanted: NewSite) -> None:
    assert isinstance(run_init(wanted).exception, ConfigError)
    assert run_init(wanted, "--labels", "", "--units", "0").exit_code == 2
    assert run_init(wanted, "--labels", "", "--units", "300").exit_code == 0
    config = read_site_config(wanted.folder / "site.toml")
    assert (config.labels, config.declared_units) == ((), 300)


def test_two_users_have_certificates_for_each_other_and_nobody_else(wanted: NewSite) -> None:
    """The node's user reads its own folder; the trainer's key is none of its business."""
    begin_site(changed(wanted, two_users=True))
    config = read_site_config(wanted.folder / "site.toml")
    service, relay = config.service.tls, config.service.relay_tls
    assert service is not None and relay is not None
    assert {path.name for path in service.iterdir()} == {"ca.pem", "service.pem", "service.key"}
    assert {path.name for path in relay.iterdir()} == {"ca.pem", "relay.pem", "relay.key"}
    assert (service / "ca.pem").read_bytes() == (relay / "ca.pem").read_bytes()
    for key in (service / "service.key", relay / "relay.key"):
        assert key.stat().st_mode & 0o777 == 0o600
    assert not list(wanted.folder.rglob("ca.key")), "nobody can be let in later"
    here = read_address(config.service.address, service, side="service")
    there = read_address(config.service.address, relay, side="relay")
    with serving(SiteDesk(wanted.folder / "site.toml", SiteDirectory()), here):
        hello = HelloHeader.parse(RemoteSite(there).hello(a_question()).frame.header)
    assert hello.site == config.name
