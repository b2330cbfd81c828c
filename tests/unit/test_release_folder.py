"""Releases as folders: what is written, what verifies, and every way of tampering that is named."""

import json
import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from huggingface_hub import ModelCard
from safetensors.numpy import save

from fedloom.server.evaluator.evaluation import Comparison, Evaluation
from fedloom.server.evaluator.findings import Shown, Span
from fedloom.server.release.decision import Override
from fedloom.server.release.folder import Written, coordinator_key, decide_run, write_release
from fedloom.server.release.reading import read_file
from fedloom.server.release.signatures import SignatureFile, sums_digest
from fedloom.server.release.sums import SUMS, SUMS_SIGNATURE, write_sums
from fedloom.server.release.verify import Verdict, verify_release
from fedloom.server.report.schema import CurvePoint
from fedloom.server.run.folder import RunFolder
from fedloom.shared.config.mitigation import MitigationSection
from fedloom.shared.config.privacy import PrivacyTerms
from fedloom.shared.config.release import ReleaseSection
from fedloom.shared.errors import CredentialError, FedLoomError, ReleaseError
from fedloom.shared.keys import SigningKey
from fedloom.shared.plan import ModelPlan
from tests.support.plans import a_plan, an_adapter
from tests.support.released import (
    VALIDATION,
    Story,
    a_figure,
    a_finished_run,
    a_head,
    an_audit,
    an_evaluation,
    bounded,
    rules,
)

KEY = SigningKey.generate()
REACHED = rules(
    {"figure": "validation.macro_f1", "at_least": 0.7},
    intended_use="Sorting | reviews <b>.",
    licence="apache-2.0",
    contact="us@example.org",
)
NOT_REACHED = rules({"figure": "validation.macro_f1", "at_least": 0.9})
ADAPTER = {"adapter_model.safetensors", "adapter_config.json", "fedloom.json", "README.md"}
RECORD = {
    "plan.toml", "release.toml", "report.json", "evaluation.json", "heads.json", "provenance.json",
    "decision.json", "decision.json.sig", "SHA256SUMS", "SHA256SUMS.sig",
}  # fmt: skip


def a_run(folder: Path, terms: ReleaseSection = REACHED, story: Story | None = None) -> RunFolder:
    story = story or Story()
    evaluation = an_evaluation(VALIDATION, plan=story.plan, adapter=story.adapter)
    return a_finished_run(folder, terms=terms, evaluation=evaluation, story=story)


def released(folder: Path, story: Story | None = None) -> Path:
    return write_release(a_run(folder, story=story), KEY).folder


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def sealed_again(folder: Path, key: SigningKey = KEY) -> None:
    """New sums over what is there, signed: what only the key's holder can do."""
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    covered = {name: files[name] for name in files.keys() - {SUMS, SUMS_SIGNATURE}}
    (folder / SUMS).write_bytes(write_sums(covered))
    digest = sums_digest((folder / SUMS).read_bytes())
    (folder / SUMS_SIGNATURE).write_bytes(SignatureFile.of(digest, key).to_json())


def problem(verdict: Verdict) -> str:
    """The one line that there must be."""
    (line,) = verdict.problems
    assert verdict.decision is None and "\n" not in line
    return line


def test_a_release_is_whole_and_verifies_with_the_public_key_alone(tmp_path: Path) -> None:
    run = a_run(tmp_path / "run")
    written = write_release(run, KEY)
    assert written.folder == run.path / "release" and names(written.folder) == ADAPTER | RECORD
    verdict = verify_release(written.folder, coordinator=KEY.public)
    assert (verdict.problems, verdict.signer) == ((), KEY.public)
    assert verdict.decision == written.decision and written.decision.released


def test_without_the_coordinators_key_the_signer_is_only_named(tmp_path: Path) -> None:
    assert verify_release(released(tmp_path / "run")).signer == KEY.public


def test_another_key_is_refused_though_all_is_signed(tmp_path: Path) -> None:
    other = SigningKey.generate()
    folder = write_release(a_run(tmp_path / "run"), other).folder
    assert verify_release(folder).problems == ()
    line = problem(verify_release(folder, coordinator=KEY.public))
    assert other.public in line and f"expected the coordinator's, {KEY.public}" in line


def test_a_held_run_has_a_record_without_adapter(tmp_path: Path) -> None:
    run = a_run(tmp_path / "run", NOT_REACHED)
    written = write_release(run, KEY)
    assert not written.decision.released
    assert re.fullmatch(r"held-\d{8}T\d{6}Z", written.folder.name)
    assert names(written.folder) == RECORD
    verdict = verify_release(written.folder, coordinator=KEY.public)
    assert verdict.problems == () and verdict.decision == written.decision
    # Even the coordinator cannot put the adapter in afterwards and call it that record.
    weights = "adapter_model.safetensors"
    (written.folder / weights).write_bytes((run.adapter / weights).read_bytes())
    sealed_again(written.folder)
    assert f"{weights}: is here, expected no adapter" in problem(verify_release(written.folder))


def test_an_override_is_in_decision_and_card(tmp_path: Path) -> None:
    run = a_run(tmp_path / "run", NOT_REACHED)
    name = "validation.macro_f1.at_least"
    word = Override(rule=name, by="A. <Person>", reason="a | b", at="2025-01-01T00:00:00Z")
    folder = write_release(run, KEY, overrides=[word]).folder
    decision = verify_release(folder, coordinator=KEY.public).decision
    assert decision is not None and decision.overrides == (word,)
    card = (folder / "README.md").read_text(encoding="utf-8")
    assert f"**OVERRIDDEN**: rule {name} came out failed; A. &lt;Person&gt;" in card
    assert "failed" in card and r"a \| b" in card


@pytest.mark.parametrize("name", sorted(ADAPTER | RECORD))
def test_each_missing_file_is_named(tmp_path: Path, name: str) -> None:
    folder = released(tmp_path / "run")
    (folder / name).unlink()
    assert problem(verify_release(folder)).startswith(f"{name}: missing")


@pytest.mark.parametrize("name", sorted((ADAPTER | RECORD) - {SUMS, SUMS_SIGNATURE}))
def test_each_changed_file_is_named(tmp_path: Path, name: str) -> None:
    folder = released(tmp_path / "run")
    (folder / name).write_bytes((folder / name).read_bytes() + b" ")
    assert problem(verify_release(folder)).startswith(f"{name}: changed since it was signed")


EXTRAS: dict[str, Callable[[Path], object]] = {
    "file": lambda path: path.write_text("x"),
    "link": lambda path: path.symlink_to("/etc/hostname"),
    "folder": Path.mkdir,
    "pipe": os.mkfifo,
}


@pytest.mark.parametrize("kind", EXTRAS)
def test_what_does_not_belong_there_is_named_and_not_followed(tmp_path: Path, kind: str) -> None:
    folder = released(tmp_path / "run")
    EXTRAS[kind](folder / "extra.py")
    assert problem(verify_release(folder)).startswith("extra.py: not of this release")


@pytest.mark.parametrize(
    ("kind", "words"),
    [("folder", "no file of its own"), ("pipe", "no file of its own"), ("link", "a link")],
)
def test_what_is_no_file_in_a_files_place_is_named(tmp_path: Path, kind: str, words: str) -> None:
    folder = released(tmp_path / "run")
    (folder / "plan.toml").unlink()
    EXTRAS[kind](folder / "plan.toml")
    assert problem(verify_release(folder)).startswith(f"plan.toml: {words}")


def test_before_the_signature_holds_nothing_large_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Catches a reader whom a stranger makes read gigabytes before asking who sent them."""
    folder = released(tmp_path / "run")
    (folder / "more.safetensors").write_bytes(b"x")
    asked: list[str] = []

    def noted(path: Path) -> bytes:
        asked.append(path.name)
        return read_file(path)

    monkeypatch.setattr("fedloom.server.release.reading.read_file", noted)
    verify_release(folder, coordinator=SigningKey.generate().public)
    assert set(asked) == {SUMS, SUMS_SIGNATURE}
    verify_release(folder, coordinator=KEY.public)
    assert set(asked) == ADAPTER | RECORD


def test_sums_may_name_nothing_that_fedloom_does_not_write(tmp_path: Path) -> None:
    folder = released(tmp_path / "run")
    (folder / "more.bin").write_bytes(b"x")
    sealed_again(folder)
    assert problem(verify_release(folder)).startswith(f"{SUMS}: names more.bin, expected files")


@pytest.mark.parametrize("mark", ["\f", "\v", "\r", "\x1c"])
def test_only_a_newline_parts_lines_of_the_sums(tmp_path: Path, mark: str) -> None:
    """To `sha256sum` the others part nothing: it would check other files than `verify`."""
    folder = released(tmp_path / "run")
    content = (folder / SUMS).read_bytes().replace(b"\n", mark.encode(), 1)
    (folder / SUMS).write_bytes(content)
    signature = SignatureFile.of(sums_digest(content), KEY)
    (folder / SUMS_SIGNATURE).write_bytes(signature.to_json())
    assert problem(verify_release(folder)).startswith(f"{SUMS}, line 1: expected a SHA-256")


def test_a_cards_every_word_follows_from_the_rest(tmp_path: Path) -> None:
    """Catches a card whose front matter is right and whose promise is made up."""
    folder = released(tmp_path / "run")
    text = (folder / "README.md").read_text(encoding="utf-8")
    assert "epsilon 1," in text
    for old, new in (("epsilon 1,", "epsilon 0.1,"), ("\n", "\r\n")):
        (folder / "README.md").write_bytes(text.replace(old, new).encode())
        sealed_again(folder)
        line = problem(verify_release(folder, coordinator=KEY.public))
        assert line.startswith("README.md: says other than")


def test_a_card_that_another_fedloom_wrote_is_told_as_not_checked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("fedloom.server.release.gate.version", lambda _: "0.0.1")
        folder = released(tmp_path / "run")
    (folder / "README.md").write_bytes((folder / "README.md").read_bytes() + b"\nMore.\n")
    sealed_again(folder)
    verdict = verify_release(folder, coordinator=KEY.public)
    assert verdict.problems == ()
    assert any("front matter not checked: FedLoom 0.0.1" in note for note in verdict.notes)


def test_heads_whose_keys_nobody_told_are_listed(tmp_path: Path) -> None:
    story = Story()
    folder = released(tmp_path / "run", story=story)
    keys = {name: head.public_key for name, head in story.heads.items()}
    (note,) = verify_release(folder).notes
    assert note.startswith("heads.json: ") and note.endswith(": north, south")
    (note,) = verify_release(folder, site_keys={"north": keys["north"]}).notes
    assert note.endswith(": south")
    assert verify_release(folder, site_keys=keys).notes == ()


@pytest.mark.parametrize("content", [b"[" * 3000, b"a: " + b"{a: " * 3000, b"- " * 3000])
def test_front_matter_without_end_is_one_line(tmp_path: Path, content: bytes) -> None:
    folder = released(tmp_path / "run")
    (folder / "README.md").write_bytes(b"---\n" + content + b"\n---\n")
    sealed_again(folder)
    assert problem(verify_release(folder)).startswith("README.md: its front matter")


@pytest.mark.parametrize("name", ["adapter/adapter_config.json", "plan.toml", "heads.json"])
def test_a_link_in_a_run_is_not_released(tmp_path: Path, name: str) -> None:
    """Catches a run folder that leads a release to a file that was never meant to leave."""
    run = a_run(tmp_path / "run")
    (run.path / name).rename(tmp_path / "elsewhere")
    (run.path / name).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ReleaseError, match="a link, expected a file"):
        write_release(run, KEY)


def test_a_runs_adapter_folder_is_its_own(tmp_path: Path) -> None:
    run = a_run(tmp_path / "run")
    run.adapter.rename(tmp_path / "elsewhere")
    run.adapter.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ReleaseError, match="a link, expected the run's own folder"):
        write_release(run, KEY)


def test_a_link_in_place_of_a_file_is_not_followed(tmp_path: Path) -> None:
    """Its target may be the very same bytes, and others the next moment."""
    folder = released(tmp_path / "run")
    (folder / "plan.toml").rename(tmp_path / "plan.toml")
    (folder / "plan.toml").symlink_to(tmp_path / "plan.toml")
    assert problem(verify_release(folder)) == "plan.toml: a link, expected a file"


def test_a_path_among_the_sums_is_refused_though_it_is_signed(tmp_path: Path) -> None:
    folder = released(tmp_path / "run")
    for name in ("../run/plan.toml", "/etc/hostname", "a/b", ".hidden"):
        content = (folder / SUMS).read_bytes() + f"{'ab' * 32}  {name}\n".encode()
        (folder / SUMS).write_bytes(content)
        signature = SignatureFile.of(sums_digest(content), KEY)
        (folder / SUMS_SIGNATURE).write_bytes(signature.to_json())
        assert "expected a SHA-256 and the name of a file" in problem(verify_release(folder))


def test_a_huge_file_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = released(tmp_path / "run")
    with (folder / "plan.toml").open("ab") as file:
        file.truncate(100 * 2**20)
    assert "plan.toml: larger than" in problem(verify_release(folder))
    for number in range(70):
        (folder / f"more{number}").touch()
    with pytest.raises(ReleaseError, match="files, expected at most that"):
        verify_release(folder)


def test_sums_that_were_made_anew_are_not_signed(tmp_path: Path) -> None:
    """What who has no key would do after changing a file."""
    folder = released(tmp_path / "run")
    (folder / "plan.toml").write_bytes((folder / "plan.toml").read_bytes() + b"\n")
    signature = (folder / SUMS_SIGNATURE).read_bytes()
    sealed_again(folder)
    (folder / SUMS_SIGNATURE).write_bytes(signature)
    assert problem(verify_release(folder)).startswith(f"{SUMS}: not what the key {KEY.public}")


@pytest.mark.parametrize("content", [b"", b"{}", b"\xff\x00", b"[" * 100_000, b'{"format": 2}'])
@pytest.mark.parametrize(
    "name", ["decision.json", "report.json", "heads.json", "plan.toml", SUMS_SIGNATURE]
)
def test_nonsense_is_one_line_even_where_it_is_signed(
    tmp_path: Path, name: str, content: bytes
) -> None:
    folder = released(tmp_path / "run")
    (folder / name).write_bytes(content)
    if name != SUMS_SIGNATURE:
        sealed_again(folder)
    verdict = verify_release(folder)
    assert verdict.problems and all("\n" not in line for line in verdict.problems)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("decision.json", "decided on another adapter"),
        ("plan.toml", "report.json: of another plan"),
        ("adapter_model.safetensors", "another adapter than the one that report.json is about"),
        ("evaluation.json", "evaluation.json: about another adapter"),
        ("report.json", "another adapter"),
        ("heads.json", "heads.json: north: another head"),
        ("provenance.json", "provenance.json: says other than the report"),
        ("fedloom.json", "fedloom.json: says other than plan.toml"),
    ],
)
def test_a_file_of_another_release_does_not_fit_though_all_is_signed(
    tmp_path: Path, name: str, words: str
) -> None:
    """A decision is for one adapter, one plan and one evaluation: it cannot be replayed."""
    folder = released(tmp_path / "run")
    other = Story(adapter=an_adapter(5), plan=a_plan(name="other"))
    other_folder = released(tmp_path / "other", story=other)
    both = (name, f"{name}.sig") if name == "decision.json" else (name,)
    for each in both:
        (folder / each).write_bytes((other_folder / each).read_bytes())
    sealed_again(folder)
    verdict = verify_release(folder, coordinator=KEY.public)
    assert verdict.decision is None
    assert any(words in line for line in verdict.problems), verdict.problems


def test_a_decision_of_another_key_does_not_count(tmp_path: Path) -> None:
    folder = released(tmp_path / "run")
    stranger = write_release(
        RunFolder(tmp_path / "run"), SigningKey.generate(), out=tmp_path / "stranger"
    ).folder
    for name in ("decision.json", "decision.json.sig"):
        (folder / name).write_bytes((stranger / name).read_bytes())
    sealed_again(folder)
    assert problem(verify_release(folder)) == f"decision.json: not what the key {KEY.public} signed"


def test_a_ruling_that_the_figures_do_not_bear_out_is_found(tmp_path: Path) -> None:
    """A coordinator who writes `passed` beside a figure that is too low."""
    story = Story()
    run = a_run(tmp_path / "run", NOT_REACHED, story)
    honest = write_release(run, KEY).decision
    assert not honest.released
    lie = tuple(
        rule.model_copy(update={"outcome": "passed", "holds": False}) if rule.holds else rule
        for rule in honest.rules
    )
    decision = honest.model_copy(update={"rules": lie, "outcome": "released"})
    folder = released(tmp_path / "again", story=story)
    (folder / "decision.json").write_bytes(decision.to_json())
    signature = SignatureFile.of(decision.digest, KEY)
    (folder / "decision.json.sig").write_bytes(signature.to_json())
    (folder / "release.toml").write_bytes(run.release.read_bytes())
    sealed_again(folder)
    line = problem(verify_release(folder, coordinator=KEY.public))
    assert line == "decision.json: its rulings do not follow from terms, evaluation and report"


def test_a_head_that_its_site_did_not_sign_is_found(tmp_path: Path) -> None:
    folder = released(tmp_path / "run")
    tree = json.loads((folder / "heads.json").read_text())
    head = json.loads(tree["south"]) | {"signature": "00" * 64}
    (folder / "heads.json").write_text(json.dumps(tree | {"south": json.dumps(head)}, indent=1))
    sealed_again(folder)
    assert "heads.json: south: not signed by the site's key" in problem(verify_release(folder))


def test_a_sites_own_key_can_be_held_against_its_head(tmp_path: Path) -> None:
    story = Story()
    folder = released(tmp_path / "run", story=story)
    north = story.heads["north"].public_key
    assert verify_release(folder, site_keys={"north": north}).problems == ()
    line = problem(verify_release(folder, site_keys={"south": north}))
    assert line.startswith("heads.json: south: no head signed by the key that was given")
    line = problem(verify_release(folder, site_keys={"nort": north}))
    assert line == "no site nort, expected north or south"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("library_name: peft", "library_name: other"),
        ("library_name: peft", "library_name: peft\nbase_model: other/model"),
        ("library_name: peft", "library_name: peft\nbase_model: [unclosed"),
        ("library_name: peft", "- a list"),
        ("model-index:", "model-index: 3\nmore:"),
    ],
)
def test_a_card_whose_front_matter_is_wrong_is_found(tmp_path: Path, old: str, new: str) -> None:
    folder = released(tmp_path / "run")
    text = (folder / "README.md").read_text(encoding="utf-8")
    assert old in text
    (folder / "README.md").write_text(text.replace(old, new, 1), encoding="utf-8")
    sealed_again(folder)
    assert problem(verify_release(folder)).startswith("README.md: its front matter")


def test_an_adapter_of_other_numbers_is_refused(tmp_path: Path) -> None:
    folder = released(tmp_path / "run")
    half = {name: values.astype("float16") for name, values in an_adapter().state().items()}
    for content in (save(half), save({}), b"\x08" + b"\x00" * 7 + b"nonsense"):
        (folder / "adapter_model.safetensors").write_bytes(content)
        sealed_again(folder)
        assert "adapter_model.safetensors: " in problem(verify_release(folder))


def test_the_card_is_one_that_the_hub_reads(tmp_path: Path) -> None:
    folder = released(tmp_path / "run")
    card = ModelCard.load(folder / "README.md")
    data = card.data
    assert (data.library_name, data.license) == ("peft", "apache-2.0")
    assert data.pipeline_tag == "text-classification"
    assert "differential-privacy" in data.tags
    (result,) = data.eval_results
    assert (result.metric_type, result.metric_value) == ("f1", 0.8)
    assert result.metric_args == {"low": 0.75, "high": 0.85, "records": 400}
    assert r"Sorting \| reviews &lt;b&gt;." in card.text
    for words in ("unit", "add-or-remove-one-unit", "delta 1e-05", "accountant prv", "not covered"):
        assert words in card.text, words
    assert "| 80.0 % | 75.0 to 85.0 |" in card.text


@pytest.mark.parametrize(("name", "known"), [("base", None), ("lab/base", "lab/base")])
def test_a_card_names_a_base_model_only_if_the_hub_has_it_by_that_name(
    tmp_path: Path, name: str, known: str | None
) -> None:
    """The hub would look for a model `base`, or `model`, of somebody else's."""
    plan = a_plan(model=ModelPlan(name=name, sha256="ab" * 32, max_length=64))
    folder = released(tmp_path / "run", Story(plan=plan))
    assert verify_release(folder, coordinator=KEY.public).problems == ()
    run_card = tmp_path / "run" / "adapter" / "README.md"
    for card in (ModelCard.load(folder / "README.md"), ModelCard.load(run_card)):
        assert card.data.get("base_model") == known
        (line,) = [line for line in card.text.splitlines() if line.startswith("- base model: ")]
        assert name in line and "ab" * 32 in line and ("hub" in line) == (known is not None)


def test_a_card_says_what_was_done_against_bias_and_what_is_known_of_the_records(
    tmp_path: Path,
) -> None:
    mitigation = MitigationSection(counterfactuals=("gender",))
    story = Story(plan=a_plan(mitigation=mitigation))
    texts = [
        (released(tmp_path / str(at), each) / "README.md").read_text(encoding="utf-8")
        for at, each in enumerate((story, None))
    ]
    assert mitigation.in_words[0] in texts[0] and "nothing is changed against bias" in texts[1]
    assert "whether they were trained on is not known" in texts[0]
    assert "records of tiny" in texts[0] and "held-out records of" not in texts[0]


def test_a_card_has_chance_beside_a_gap_and_one_unit_in_a_line(tmp_path: Path) -> None:
    gap = a_figure("worst_group_gap", 0.07, 0.02, 0.15).model_copy(
        update={"unit": "difference", "chance": 0.041}
    )
    audits = (VALIDATION, an_audit("groups", gap), an_audit("exposure", why_not="no secrets"))
    run = a_finished_run(tmp_path / "run", evaluation=an_evaluation(*audits))
    text = (write_release(run, KEY).folder / "README.md").read_text(encoding="utf-8")
    bias = text.partition("## Bias\n")[2].partition("\n## ")[0]
    assert "| 95 % interval | by chance |" in bias
    assert "| 7.0 points | 2.0 to 15.0 | 4.1 points | 400 |" in bias
    assert "by chance" not in text.partition("## Evaluation\n")[2].partition("\n## ")[0]
    audit = text.partition("## Privacy audit\n")[2].partition("\n## ")[0]
    assert "Does not apply: no secrets" in audit


def test_a_card_says_plainly_what_is_missing(tmp_path: Path) -> None:
    plain = a_plan(privacy=PrivacyTerms(noise_multiplier=1.0))
    story = Story(plan=plain)
    evaluation = an_evaluation(VALIDATION, plan=plain, adapter=story.adapter)
    run = a_finished_run(tmp_path / "run", evaluation=evaluation, story=story)
    text = (write_release(run, KEY).folder / "README.md").read_text(encoding="utf-8")
    for words in ("did not say what this adapter is for", "none was stated", "Not measured"):
        assert words in text
    assert "license" not in text.partition("\n---\n")[0]


def test_a_card_says_once_what_intervals_are_over(tmp_path: Path) -> None:
    """And nobody's name for a unit breaks out of its line."""
    story = Story()
    evaluation = an_evaluation(VALIDATION, adapter=story.adapter)
    evaluation = evaluation.model_copy(update={"caveats": ("Of 8 units (a|b).",)})
    run = a_finished_run(tmp_path / "run", evaluation=evaluation, story=story)
    text = (write_release(run, KEY).folder / "README.md").read_text(encoding="utf-8")
    assert text.count(r"Of 8 units (a\|b).") == 1


def test_what_thresholds_were_measured_by_and_on_is_in_decision_and_card(tmp_path: Path) -> None:
    """Else figures of an easy suite, or of chosen records, look like those that were asked for."""
    folder = released(tmp_path / "run")
    decision = verify_release(folder, coordinator=KEY.public).decision
    assert decision is not None
    evidence = decision.evidence
    assert (evidence.suite_sha256, evidence.corpus_sha256) == ("cd" * 32, "ef" * 32)
    card = (folder / "README.md").read_text(encoding="utf-8")
    assert f"suite `{'cd' * 32}` on records `{'ef' * 32}`" in card
    # A decision that names other records does not follow from this evaluation.
    other = evidence.model_copy(update={"corpus_sha256": "00" * 32})
    lie = decision.model_copy(update={"evidence": other})
    (folder / "decision.json").write_bytes(lie.to_json())
    signature = SignatureFile.of(lie.digest, KEY)
    (folder / "decision.json.sig").write_bytes(signature.to_json())
    sealed_again(folder)
    lines = verify_release(folder, coordinator=KEY.public).problems
    assert "decision.json: decided on another corpus than this folder's" in lines


@pytest.mark.parametrize(
    ("digest", "words"), [("", "evaluation says no digest"), ("nonsense", "corpus_sha256")]
)
def test_records_without_a_digest_are_told_and_a_wrong_one_is_refused(
    tmp_path: Path, digest: str, words: str
) -> None:
    changed = an_evaluation(VALIDATION).model_copy(update={"corpus_sha256": digest})
    run = a_finished_run(tmp_path / "run", evaluation=changed)
    if digest:
        with pytest.raises(ReleaseError, match=words):
            write_release(run, KEY)
        return
    folder = write_release(run, KEY).folder
    assert words in (folder / "README.md").read_text(encoding="utf-8")


def privacy_of(folder: Path) -> str:
    card = (folder / "README.md").read_text(encoding="utf-8")
    return card.partition("## Privacy\n")[2].partition("\n## ")[0]


def test_a_card_says_which_things_no_epsilon_covers(tmp_path: Path) -> None:
    """Figures on held-out and on training records lie beside the promise, and not under it."""
    told = privacy_of(released(tmp_path / "run"))
    assert "anything that left it" not in told
    for words in ("No epsilon covers what else", "training records among them"):
        assert words in told, words
    assert "contradicts" not in told


def test_an_overridden_measurement_contradicts_the_promise_beside_it(tmp_path: Path) -> None:
    """Catches a card whose privacy paragraph promises what an audit has refuted."""
    evaluation = an_evaluation(VALIDATION, bounded("canaries", 1.75))
    run = a_finished_run(tmp_path / "run", evaluation=evaluation)
    rule = "measured-epsilon.canaries"
    word = Override(rule=rule, by="A. Person", reason="a | b", at="2025-01-01T00:00:00Z")
    told = privacy_of(write_release(run, KEY, overrides=[word]).folder)
    assert "A measurement contradicts this promise" in told
    assert "by 1.75, above the 1 claimed" in told and rule in told


# What cannot be released, in one line.


def broken(change: Callable[[RunFolder], object]) -> Callable[[Path], Written]:
    def write(folder: Path) -> Written:
        run = a_run(folder)
        change(run)
        return write_release(run, KEY)

    return write


def _evaluated(evaluation: Evaluation) -> Callable[[RunFolder], object]:
    return lambda run: run.evaluation.write_text(evaluation.model_dump_json())


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda run: run.report_json.unlink(), "no report.json, expected a run that came to"),
        (lambda run: run.release.unlink(), "expected what was promised when the run began"),
        (lambda run: (run.adapter / "fedloom.json").unlink(), "fedloom.json: no such file"),
        (lambda run: run.evaluation.write_text("{"), "evaluation.json: "),
        (lambda run: run.heads.unlink(), "heads.json: north: another head"),
        (lambda run: run.plan.write_text(a_plan(name="x").to_toml()), "of another plan"),
        (
            _evaluated(an_evaluation(VALIDATION, adapter=an_adapter(5))),
            "evaluation.json: about another adapter",
        ),
        (
            _evaluated(an_evaluation(VALIDATION).model_copy(update={"model_sha256": "00" * 32})),
            "on another base model",
        ),
        (
            _evaluated(an_evaluation(VALIDATION).model_copy(update={"about": "nobody"})),
            "evaluation.json: about another adapter",
        ),
        (
            lambda run: (run.adapter / "adapter_model.safetensors").write_bytes(
                save(an_adapter(5).state())
            ),
            "another adapter than the one that report.json is about",
        ),
        (lambda run: run.path.joinpath("release").mkdir(), "exists already, expected a new"),
        (lambda run: run.path.joinpath("release").symlink_to("/nowhere"), "exists already"),
    ],
)
def test_what_cannot_be_released_is_one_line(
    tmp_path: Path, change: Callable[[RunFolder], object], words: str
) -> None:
    with pytest.raises(FedLoomError, match=re.escape(words)) as caught:
        broken(change)(tmp_path / "run")
    assert "\n" not in str(caught.value)
    assert not [path for path in (tmp_path / "run").iterdir() if path.name.startswith(".")]


def test_thresholds_that_changed_after_the_run_began_are_not_those_of_the_release(
    tmp_path: Path,
) -> None:
    """The run folder has what was promised; nothing of a later federation.toml is read."""
    run = a_run(tmp_path / "run", NOT_REACHED)
    assert not decide_run(run).released
    run.release.write_text(REACHED.to_toml(), encoding="utf-8")
    assert decide_run(run).released


def test_a_simulations_key_is_made_once_and_is_its_owners_alone(tmp_path: Path) -> None:
    run = a_run(tmp_path / "run")
    first = coordinator_key(run)
    assert coordinator_key(run).public == first.public
    assert (run.path / "coordinator.key").stat().st_mode & 0o777 == 0o600
    with pytest.raises(CredentialError, match="no such file"):
        coordinator_key(run, tmp_path / "mistyped.key")


def test_a_deployments_key_is_the_servers(tmp_path: Path) -> None:
    run = a_run(tmp_path / "home" / "runs" / "one")
    report = json.loads(run.report_json.read_text()) | {"setting": "deployment"}
    run.report_json.write_text(json.dumps(report))
    with pytest.raises(CredentialError, match="no such file"):
        coordinator_key(run)
    key = SigningKey.generate()
    key.keep(tmp_path / "home" / "coordinator.key")
    assert coordinator_key(run).public == key.public
    assert not (run.path / "coordinator.key").exists()


def test_heads_of_other_sites_do_not_get_in(tmp_path: Path) -> None:
    """A server's heads are of all its sites; a release's of the plan's own."""
    run = a_run(tmp_path / "run")
    tree = json.loads(run.heads.read_text()) | {"stranger": a_head().model_dump_json()}
    run.heads.write_text(json.dumps(tree))
    with pytest.raises(ReleaseError, match=r"heads\.json: stranger"):
        write_release(run, KEY)


def test_what_no_epsilon_covers_stays_with_the_run(tmp_path: Path) -> None:
    """Texts of records, an adapter without privacy, scores in the clear, and times."""
    story = Story()
    run = a_run(tmp_path / "run", story=story)
    shown = Shown(title="t", spans=(Span(text="PATIENT-7"),), facts=(("PATIENT-8", "x"),))
    evaluation = an_evaluation(VALIDATION.model_copy(update={"shown": (shown,)}))
    ours = evaluation.subjects[0]
    others = [
        ours.model_copy(update={"name": f"{kind}-NAME", "kind": kind})
        for kind in ("base", "non-private")
    ]
    comparisons = [
        Comparison(
            audit="validation", key="macro_f1", subject="federation", against=other.name,
            difference=0.1, low=0.0, high=0.2, p_value=0.5, records=9,
        )
        for other in others
    ]  # fmt: skip
    changes = {"subjects": (ours, *others), "comparisons": tuple(comparisons)}
    run.evaluation.write_text(evaluation.model_copy(update=changes).model_dump_json())
    report = story.report()
    timings = report.timings.model_copy(update={"train": 4711.25})
    curve = (CurvePoint(round=1, records=9, accuracy=0.4711, loss=0.1),)
    rounds = tuple(each.model_copy(update={"seconds": 4711.25}) for each in report.rounds)
    report = report.model_copy(update={"timings": timings, "curve": curve, "rounds": rounds})
    run.report_json.write_text(report.model_dump_json())
    folder = write_release(run, KEY).folder
    assert verify_release(folder).problems == ()
    everything = b"".join(path.read_bytes() for path in folder.iterdir()).decode(errors="replace")
    for words in ("PATIENT", "4711", "non-private-NAME"):
        assert words not in everything, words
    assert "base-NAME" in everything and "4711" in run.report_json.read_text()
