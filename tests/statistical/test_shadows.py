"""LiRA with shadow runs: it finds what a model remembers, and nothing where there is nothing.

All seeds are fixed, so that each test is the same again.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from fedloom.server.evaluator.findings import AuditFindings
from fedloom.server.run.checkpoint import read_checkpoint
from fedloom.server.run.folder import RunFolder
from fedloom.shared.errors import EvaluationError
from fedloom.simulation.arms import arms_beside
from fedloom.simulation.auditing.kept import FILE
from fedloom.simulation.auditing.lira import Seen, with_lira
from fedloom.simulation.auditing.shadows import run_shadows
from fedloom.simulation.prepare import Prepared
from tests.support.audited import audited_federation, figures_of, run_audit

NOTHING = AuditFindings(audit="canaries", title="", asks="")
CANARIES = 100
SHADOWS = 4


@pytest.fixture(scope="module")
def remembering(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    """Without privacy, with steps so large that single records are learned by heart."""
    folder = tmp_path_factory.mktemp("federation")
    private = audited_federation(folder, steps=10, batch=70, rate=0.2)
    (arm,) = arms_beside(private, "non-private")
    return arm.prepared


@pytest.fixture(scope="module")
def audited(remembering: Prepared, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Seen]:
    """The run folder of an audit with shadows, and what its shadow runs showed."""
    kept: list[Seen] = []

    def seen(*arguments: object, **named: object) -> Seen:
        kept.append(run_shadows(*arguments, **named))
        return kept[0]

    folder = tmp_path_factory.mktemp("run") / "audit"
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("fedloom.simulation.auditing.audit.run_shadows", seen)
        run_audit(remembering, folder, canaries=CANARIES, shadows=SHADOWS)
    return folder, kept[0]


def test_what_is_learned_by_heart_is_found(audited: tuple[Path, Seen]) -> None:
    folder, seen = audited
    found = AuditFindings.model_validate_json((folder / FILE).read_text(encoding="utf-8"))
    figures = {figure.key: figure for figure in found.figures}
    told, rarely = figures["lira_auc"], figures["lira_tpr_at_1_fpr"]
    assert told.low is not None
    assert told.low > 0.7
    assert rarely.value > 0.05
    left = CANARIES - int(seen.comparable.sum())
    assert told.records == rarely.records == CANARIES - left < CANARIES
    assert f"LiRA had {SHADOWS} shadow runs" in found.caveats[-2]
    assert "No epsilon" in found.caveats[-2]
    assert f"{left} canaries of {CANARIES} left out" in found.caveats[-1]
    assert "epsilon_lower_bound" in figures, "what was measured without shadows stays"


def test_coins_exchanged_afterwards_are_not_found(audited: tuple[Path, Seen]) -> None:
    """The interval is a 95 % one, so of 30 exchanges about 1.5 miss 0.5; 7 or more would be a false
    alarm in one seed of 1,500."""
    generator = np.random.default_rng(1)
    missed = 0
    for _ in range(30):
        coins = generator.random(CANARIES) < 0.5
        (told, _) = with_lira(NOTHING, audited[1], coins).figures
        assert told.low is not None
        assert told.high is not None
        missed += not told.low <= 0.5 <= told.high
    assert missed < 7


def test_each_shadow_is_a_run_of_its_own_with_other_coins_and_noise(
    audited: tuple[Path, Seen],
) -> None:
    folder, seen = audited
    homes = [folder, *(folder / "shadows" / str(at + 1) for at in range(SHADOWS))]
    plans = [RunFolder(home).read_plan() for home in homes]
    assert len({plan.privacy.noise_seed for plan in plans}) == SHADOWS + 1
    assert len({plan.sites for plan in plans}) == 1, "sizes are those of the audited run"
    starts = [
        read_checkpoint(home / "checkpoints", 0, plan.sha256).sha256
        for home, plan in zip(homes, plans, strict=True)
    ]
    assert len(set(starts)) == 1
    assert all((home / "sites" / "site0" / "state").is_dir() for home in homes)
    shared = np.corrcoef(seen.inside)[np.triu_indices(SHADOWS, 1)]
    # Coins of two runs agree by chance alone: |r| > 0.4 has a probability of 1e-4 each.
    assert np.abs(shared).max() < 0.4


def test_figures_are_those_of_a_reference_one_canary_at_a_time() -> None:
    """The last two canaries were in all and in none of the shadow runs: whatever they say, even no
    number, changes nothing."""
    generator = np.random.default_rng(2)
    scores, shadows = generator.normal(size=12), generator.normal(size=(3, 12))
    inside = np.array([[True, False, True]] * 5 + [[False, True, False]] * 5).T
    inside = np.concatenate([inside, [[True, False]] * 3], axis=1)
    coins = np.arange(12) % 3 == 0
    scores[10:], shadows[:, 10:] = np.nan, np.nan

    def side(at: int, had: bool) -> list[float]:
        return [float(shadows[run, at]) for run in range(3) if inside[run, at] == had]

    def likelihood(at: int, had: bool) -> float:
        squares = freedom = 0.0
        for other in range(10):
            values = side(other, had)
            squares += sum((value - sum(values) / len(values)) ** 2 for value in values)
            freedom += len(values) - 1
        own = side(at, had)
        spread = (squares / freedom) ** 0.5
        return float(stats.norm.logpdf(scores[at], sum(own) / len(own), spread))

    ratios = [likelihood(at, True) - likelihood(at, False) for at in range(10)]
    pairs = [(a, b) for a in range(10) for b in range(10) if coins[a] and not coins[b]]
    above = sum(ratios[a] > ratios[b] for a, b in pairs) / len(pairs)
    highest = max(ratios[at] for at in range(10) if not coins[at])
    members = [ratios[at] for at in range(10) if coins[at]]

    seen = Seen(scores=scores, shadows=shadows, inside=inside)
    found = with_lira(NOTHING, seen, coins)
    assert figures_of(found)["lira_auc"] == pytest.approx(above)
    part = sum(ratio > highest for ratio in members) / len(members)
    assert figures_of(found)["lira_tpr_at_1_fpr"] == pytest.approx(part)
    assert found.figures[0].records == 10
    assert "2 canaries of 12 left out" in found.caveats[-1]


def test_with_nothing_to_compare_it_says_so() -> None:
    scores, shadows = np.zeros(4), np.zeros((2, 4))
    alike = Seen(scores=scores, shadows=shadows, inside=np.ones((2, 4), dtype=bool))
    found = with_lira(NOTHING, alike, np.array([True, False, True, False]))
    assert found.figures == ()
    assert "4 canaries of 4 left out" in found.caveats[-2]
    assert "measured nothing" in found.caveats[-1]
    mixed = replace(alike, inside=np.array([[True] * 4, [False] * 4]))
    assert with_lira(NOTHING, mixed, np.ones(4, dtype=bool)).figures == ()


def test_one_shadow_run_is_refused_before_anything_is_trained(
    remembering: Prepared, tmp_path: Path
) -> None:
    with pytest.raises(EvaluationError, match=r"^privacy audit: 1 shadow run, expected 0 or at"):
        run_audit(remembering, tmp_path / "run", shadows=1)
    assert not (tmp_path / "run").exists()
