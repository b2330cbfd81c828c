"""The demo on real records, cut short; and what its report claims, checked by plain PEFT."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from fedloom.server.report.schema import Report
from fedloom.shared.assets.cache import default_cache
from fedloom.shared.config.federation import read_federation
from fedloom.shared.model.card import AdapterCard
from fedloom.simulation.demo.hutto import prepare_demo
from fedloom.simulation.prepare import prepare

pytestmark = [pytest.mark.slow, pytest.mark.demo]


@pytest.fixture(scope="module")
def federation() -> Path:
    """The demo's own file with fewer rounds and steps, beside the fetched assets."""
    whole = prepare_demo(default_cache(), offline=False)
    text = whole.read_text(encoding="utf-8")
    for key, cut_short in (("head_rounds", 2), ("total", 4)):
        text, found = re.subn(rf"^{key} = \d+$", f"{key} = {cut_short}", text, flags=re.M)
        assert found == 1
    short = whole.with_name("short.toml")
    short.write_text(text, encoding="utf-8")
    return short


@pytest.fixture(scope="module")
def finished(federation: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("demo") / "run"
    command = [sys.executable, "-m", "fedloom.cli", "simulate", str(federation)]
    done = subprocess.run(
        [*command, "--out", str(run)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "4 of 4 sites" in done.stderr and str(run / "report.html") in done.stdout
    return run


def test_the_report_is_typed_and_complete(finished: Path) -> None:
    report = Report.model_validate_json((finished / "report.json").read_bytes())
    assert [site.steps for site in report.sites] == [4, 4, 4, 4]
    assert all(0 < (site.epsilon_spent or 0) <= 8 for site in report.sites)
    assert all(site.bytes_up > 0 and site.bytes_down > 0 for site in report.sites)
    assert {arm.kind for arm in report.evaluation} == {"majority", "untrained", "federation"}
    assert len(report.omitted) == 2
    page = (finished / "report.html").read_text(encoding="utf-8")
    assert "<script" not in page and "src=" not in page and "<link" not in page


def test_plain_peft_gives_the_predictions_that_the_report_claims(
    finished: Path, federation: Path
) -> None:
    """As an outsider would: base model from transformers, adapter from PEFT, nothing of ours."""
    import torch
    from peft import PeftModel
    from transformers import AutoModelForTokenClassification, AutoTokenizer

    prepared = prepare(read_federation(federation))
    card = AdapterCard.read(finished / "adapter")
    base = AutoModelForTokenClassification.from_pretrained(
        prepared.model, num_labels=len(card.task.labels)
    )
    model = PeftModel.from_pretrained(base, str(finished / "adapter")).eval()
    tokenizer = AutoTokenizer.from_pretrained(prepared.model)
    records = prepared.tests["tweets"]
    hits = 0
    for start in range(0, len(records), 64):
        rows = records[start : start + 64]
        batch = tokenizer(
            [record.text for record in rows],
            padding=True, truncation=True, max_length=card.max_length, return_tensors="pt",
        )  # fmt: skip
        with torch.inference_mode():
            by_token = model(**batch).logits
        real = batch["attention_mask"][..., None]
        # As the adapter's own README says: a text's scores are the mean over its tokens.
        found = ((by_token * real).sum(dim=1) / real.sum(dim=1)).argmax(dim=1).tolist()
        hits += sum(got == record.label for got, record in zip(found, rows, strict=True))
    report = json.loads((finished / "report.json").read_text())
    arm = next(arm for arm in report["evaluation"] if arm["kind"] == "federation")
    assert hits / len(records) == pytest.approx(
        arm["tests"]["tweets"]["accuracy"]["value"], abs=2e-3
    )


def test_evaluate_alone_repeats_the_reports_figure(finished: Path, federation: Path) -> None:
    prepared = prepare(read_federation(federation))
    data = finished.parent / "tweets-test.jsonl"
    labels = prepared.plan.task.labels
    rows = [{"text": r.text, "label": labels[r.label]} for r in prepared.tests["tweets"]]
    data.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    command = [sys.executable, "-m", "fedloom.cli", "evaluate", str(finished / "adapter")]
    command += ["--data", str(data), "--model", str(prepared.model), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    report = json.loads((finished / "report.json").read_text())
    arm = next(arm for arm in report["evaluation"] if arm["kind"] == "federation")
    found = json.loads(done.stdout)["accuracy"]["value"]
    assert found == pytest.approx(arm["tests"]["tweets"]["accuracy"]["value"], abs=2e-3)
