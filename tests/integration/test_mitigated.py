"""What mitigation does to a model of biased records: bias, accuracy and epsilon side by side."""

from pathlib import Path

import numpy as np
import pytest

from fedloom.client.app import make_client_app
from fedloom.client.site.directory import SiteDirectory
from fedloom.server.evaluator.bench import plan_bench
from fedloom.server.evaluator.subject import Candidate
from fedloom.server.report.schema import Report
from fedloom.server.run.checkpoint import read_checkpoint
from fedloom.server.run.folder import RunFolder
from fedloom.shared.config.federation import read_federation
from fedloom.shared.config.sections import JOINT
from fedloom.shared.plan import Plan
from fedloom.shared.swaps.swapping import swaps_of
from fedloom.simulation.executors.serial import SerialExecutor
from fedloom.simulation.prepare import Prepared, prepare
from fedloom.simulation.progress import silent
from fedloom.simulation.site_app import in_process
from fedloom.simulation.study import StudyOptions, run_study
from tests.support.biased import biased_rows, write_biased_federation


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    path = write_biased_federation(
        tmp_path_factory.mktemp("biased"),
        rows=500,
        mitigation='counterfactuals = ["gender"]',
        privacy="epsilon = 8.0\ndelta = 1e-4\nnoise_seed = 7",
        rounds=5,
    )
    return prepare(read_federation(path))


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("finished") / "run"


@pytest.fixture(scope="module")
def report(prepared: Prepared, home: Path) -> Report:
    executor = SerialExecutor(make_client_app(in_process(SiteDirectory())))
    options = StudyOptions(arms=("mitigated",))
    return run_study(prepared, RunFolder(home), executor, silent(), options)


def flips_and_accuracy(prepared: Prepared, folder: Path) -> tuple[float, float]:
    """On texts whose pronoun says nothing of the label: how many answers change with it."""
    run = RunFolder(folder)
    plan: Plan = run.read_plan()
    adapter = read_checkpoint(run.checkpoints, plan.rounds.total, plan.sha256)
    candidate = Candidate(name="x", kind="federation", description="", adapter=adapter)
    subject = plan_bench(plan, prepared.model, batch_size=64).subject(candidate)
    rows = biased_rows(400, seed=99, bias=0.0)
    said = subject.classify([row["text"] for row in rows]).argmax(axis=1)
    swapped = [swaps_of(row["text"], "gender")[0].text for row in rows]
    truth = np.array([row["label"] == "positive" for row in rows])
    flips = (said != subject.classify(swapped).argmax(axis=1)).mean()
    return float(flips), float((said == truth).mean())


def test_copies_take_the_bias_out_at_the_same_epsilon(
    prepared: Prepared, report: Report, home: Path
) -> None:
    """Without them the model answers by the pronoun; with them it hardly can."""
    flips, accuracy = flips_and_accuracy(prepared, home)
    mended, accuracy_then = flips_and_accuracy(prepared, home / "arms" / "mitigated")
    assert flips > 0.5, "the records must teach a bias"
    assert mended < 0.1
    assert accuracy_then > accuracy - 0.05, "on texts without the bias, nothing is lost"
    arms = {arm.kind: arm for arm in report.evaluation}
    assert arms["mitigated"].epsilon == arms["federation"].epsilon == 8.0
    # Where the bias still holds, answering by the pronoun pays: this is what mitigation costs.
    held_out = [arms[kind].tests[JOINT].accuracy.value for kind in ("federation", "mitigated")]
    assert held_out[0] > held_out[1]


def test_the_report_names_the_arm_or_says_that_it_was_left_out(report: Report, home: Path) -> None:
    [arm] = [arm for arm in report.evaluation if arm.kind == "mitigated"]
    assert "gender swapped" in arm.description
    assert "| mitigated |" in (home / "report.md").read_text()
    assert not any("mitigation" in line for line in report.omitted)
