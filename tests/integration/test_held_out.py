"""A federation whose sites tell their held-out counts: what is told, charged, checked, shown."""

from pathlib import Path

import pytest

from fedloom.client.ledger.ledger import Ledger
from fedloom.client.site.policy.document import read_policy
from fedloom.server.report.schema import Report
from fedloom.server.run.folder import RunFolder
from fedloom.server.run.journal import Journal
from fedloom.shared.config.federation import read_federation
from fedloom.shared.privacy.accounting import Mechanism
from fedloom.simulation.executors.serial import SerialExecutor
from fedloom.simulation.federation import run_federation
from fedloom.simulation.prepare import Prepared, prepare
from fedloom.simulation.progress import silent
from fedloom.simulation.site_app import app
from fedloom.simulation.study import StudyOptions, run_study
from tests.statistical.test_accounting import pld_epsilon
from tests.support.faulty import VARIABLE, FaultyApp
from tests.support.tiny import write_federation

ROUNDS, NOISE = 4, 2.0
METRICS = f'[metrics]\nvalues = ["held-out-accuracy"]\nevery = 2\nnoise_multiplier = {NOISE}\n'


def a_federation(folder: Path, *, rounds: int = ROUNDS, rows: int = 240) -> Prepared:
    path = write_federation(
        folder, rounds=rounds, rows=rows, privacy="epsilon = 6.0\ndelta = 1e-4", more=METRICS
    )
    return prepare(read_federation(path))


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    return a_federation(tmp_path_factory.mktemp("federation"))


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("finished") / "run"


@pytest.fixture(scope="module")
def report(prepared: Prepared, home: Path) -> Report:
    """Under the policies that a simulation writes, with every arm beside."""
    options = StudyOptions(arms=("alone", "non-private"))
    return run_study(prepared, RunFolder(home), SerialExecutor(app), silent(), options)


def test_the_report_shows_a_point_for_each_measured_round(report: Report, home: Path) -> None:
    assert not report.stops
    assert [(point.round, point.sites) for point in report.held_out] == [(2, 3), (4, 3)]
    for name in ("report.md", "report.html"):
        assert "nobody else sees, noised and charged" in (home / name).read_text()
    for point in report.held_out:
        assert f"{100 * (point.accuracy or 0):.1f}" in (home / "report.md").read_text()


def test_each_point_lies_about_the_truth_of_the_adapter_that_the_round_started_from(
    report: Report, prepared: Prepared, home: Path
) -> None:
    """Scored in the clear, as only a simulation can. Eight deviations: no false alarm."""
    from fedloom.server.evaluator.bench import plan_bench
    from fedloom.server.run.checkpoint import read_checkpoint

    predictor = plan_bench(prepared.plan, prepared.model, batch_size=1)
    rows = [record for test in prepared.tests.values() for record in test]
    examples = predictor.encode(rows)
    deviation = NOISE * (2 * 3) ** 0.5
    for point in report.held_out:
        start = read_checkpoint(
            RunFolder(home).checkpoints, point.round - 1, prepared.plan.sha256
        )  # fmt: skip
        truth = predictor.outcomes(start, examples).right.mean()
        assert point.accuracy is not None
        assert abs(point.accuracy - truth) < 8 * deviation * 2**0.5 / len(rows)


@pytest.mark.slow
def test_all_of_it_is_within_the_epsilon_that_was_promised(
    report: Report, prepared: Prepared, home: Path
) -> None:
    """From the ledgers' own entries, by an accountant of another make."""
    for site, facts in zip(prepared.plan.sites, report.sites, strict=True):
        entries = Ledger(home / "sites" / site.name / "state").entries()
        charges = [entry.charge for entry in entries if entry.event == "released"]
        assert [charge.metric_noise for charge in charges] == [None, NOISE, None, NOISE]
        history = [
            Mechanism(
                noise_multiplier=charge.noise_multiplier,
                sample_rate=charge.sample_rate,
                steps=charge.steps,
            )
            for charge in charges
        ]
        told = Mechanism(noise_multiplier=NOISE, sample_rate=1.0, steps=2)
        whole = pld_epsilon([*history, told], 1e-4)
        assert facts.epsilon_spent == pytest.approx(whole, rel=0.02)
        assert facts.epsilon_spent == pytest.approx(site.epsilon)
        assert (site.epsilon or 0) <= 6.0 < 6.0 + whole - pld_epsilon(history, 1e-4)
        assert pld_epsilon(history, 1e-4) < 0.95 * whole, "the metric has a part in it"


def test_a_simulated_site_allows_just_what_the_plan_asks(report: Report, home: Path) -> None:
    policy = read_policy(home / "sites" / "site0" / "policy.toml")
    assert policy.release.values == ("held-out-accuracy",)
    assert policy.release.min_metric_noise_multiplier == NOISE


def test_the_arms_beside_measure_nothing(report: Report, home: Path) -> None:
    arms = [folder for folder in (home / "arms").iterdir() if folder.is_dir()]
    assert len(arms) == 4
    for arm in arms:
        entries = Journal(arm / "rounds.jsonl").entries()
        assert entries and not any(site.held_out for entry in entries for site in entry.sites)


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        ("silent", "rejected: no held-out counts, expected them in this round"),
        ("monstrous", "rejected: UpdateHeader: held_out"),
    ],
)
def test_a_site_that_tells_nothing_or_nonsense_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str, told: str
) -> None:
    prepared = a_federation(tmp_path, rounds=2, rows=120)
    monkeypatch.setenv(VARIABLE, f"site1:{fault}")
    run_federation(prepared, RunFolder(tmp_path / "run"), SerialExecutor(FaultyApp()))
    first, second = Journal(tmp_path / "run" / "rounds.jsonl").entries()
    # In a round that is not measured, to tell nothing is right and nonsense is not.
    assert (first.sites[1].fault is None) == (fault == "silent")
    assert told in (second.sites[1].fault or "") and second.sites[1].held_out is None
    assert [site.fault for site in (second.sites[0], second.sites[2])] == [None, None]


def test_control_a_plan_that_asks_for_nothing_has_no_points(tmp_path: Path) -> None:
    prepared = prepare(read_federation(write_federation(tmp_path, rounds=1)))
    report = run_study(prepared, RunFolder(tmp_path / "run"), SerialExecutor(app), silent())
    assert report.held_out == ()
    policy = read_policy(tmp_path / "run" / "sites" / "site0" / "policy.toml")
    assert policy.release.values == ()
