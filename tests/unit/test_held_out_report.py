"""An accuracy from noised counts: what it says, how sure it is, and how a report shows it."""

import json

import numpy as np
import pytest

from fedloom.server.report.held_out import WHAT_HELD_OUT_IS, held_out_points, noised_ratio
from fedloom.server.report.html import render_html
from fedloom.server.report.markdown import render_markdown
from fedloom.server.report.schema import HeldOutPoint, Report
from fedloom.server.run.journal import RoundEntry, SiteRound
from fedloom.shared.config.privacy import MetricsSection
from fedloom.shared.plan import Plan
from fedloom.shared.wire.messages import HeldOut
from tests.support.plans import a_plan
from tests.support.reports import a_report

NOISE = 10.0
DRAWS = 20_000


def a_measured_plan() -> Plan:
    metrics = MetricsSection(values=("held-out-accuracy",), every=1, noise_multiplier=NOISE)
    return a_plan(metrics=metrics)


def a_round(number: int, *told: HeldOut | None, fault: str | None = None) -> RoundEntry:
    """A round of sites that told this; `fault` is the last one's."""
    sites = [
        SiteRound(site=f"s{at}", fault=None, bytes_up=1, bytes_down=1, held_out=each)
        for at, each in enumerate(told)
    ]
    sites[-1] = sites[-1].model_copy(update={"fault": fault})
    return RoundEntry(
        round=number, accepted=2, seconds=1.0, adapter_sha256="ad" * 32, sites=tuple(sites)
    )


def test_a_point_is_the_share_of_all_units_at_all_sites() -> None:
    """Not a mean of the sites' shares, in which a small site's noise would count as much."""
    rounds = [
        a_round(1, None, None),
        a_round(2, HeldOut(units=3000.0, right=2700.0), HeldOut(units=1000.0, right=300.0)),
        a_round(3, HeldOut(units=3000.0, right=2700.0), HeldOut(units=1e9, right=0.0), fault="x"),
    ]
    both, one = held_out_points(a_measured_plan(), rounds)
    assert (both.round, both.sites, both.accuracy) == (2, 2, 0.75)
    assert (one.round, one.sites, one.accuracy) == (3, 1, 0.9)


def coverage(units: float, share: float, *, sites: int, claimed: float = 1.0) -> float:
    """How often the interval holds the truth, over draws from a fixed seed.

    `claimed` is what the interval believes of the noise, relative to what it is.
    """
    generator = np.random.default_rng(11)
    deviation = NOISE * np.sqrt(2 * sites)
    noise = deviation * generator.standard_normal((DRAWS, 2))
    found = (
        noised_ratio(units * share + on_right, units + on_units, deviation=claimed * deviation)
        for on_units, on_right in noise
    )
    return float(np.mean([low <= share <= high for _, low, high in found]))


def check_coverage(found: float) -> None:
    # Of 20,000 draws at 95 %, five deviations are 0.0077: a false alarm in two million.
    assert found > 0.95 - 0.0077, "covers too rarely"


@pytest.mark.parametrize("units", [20.0, 80.0, 400.0, 5000.0])
@pytest.mark.parametrize("share", [0.0, 0.5, 0.8, 1.0])
def test_the_interval_holds_the_truth_at_least_95_times_in_100(units: float, share: float) -> None:
    """Also where the noise is as large as what it hides, where a delta method would not."""
    check_coverage(coverage(units, share, sites=2))


@pytest.mark.parametrize("units", [400.0, 5000.0])
def test_it_is_no_wider_than_it_need_be(units: float) -> None:
    assert coverage(units, 0.6, sites=2) < 0.95 + 0.0077


def test_control_noise_believed_a_tenth_too_small_is_caught() -> None:
    with pytest.raises(AssertionError, match="too rarely"):
        check_coverage(coverage(400.0, 0.6, sites=2, claimed=0.9))


def test_the_interval_is_the_delta_methods_where_that_holds() -> None:
    """The textbook's variance of a ratio, far from zero."""
    value, low, high = noised_ratio(6000.0, 10_000.0, deviation=20.0)
    assert value == 0.6
    half = 1.96 * 20.0 / 10_000.0 * np.sqrt(1 + 0.6**2)
    assert (low, high) == pytest.approx((0.6 - half, 0.6 + half), rel=1e-4)


@pytest.mark.parametrize("units", [-500.0, 0.0, 39.0])
def test_noise_that_hides_the_units_says_nothing(units: float) -> None:
    assert noised_ratio(30.0, units, deviation=20.0) == (None, 0.0, 1.0)


def test_a_lying_sites_counts_give_no_number_that_is_none() -> None:
    huge = HeldOut(units=1e12, right=-1e12)
    (point,) = held_out_points(a_measured_plan(), [a_round(1, huge, huge)])
    assert (point.accuracy, point.low, point.high) == (0.0, 0.0, 0.0)


POINTS = (
    HeldOutPoint(round=10, sites=2, accuracy=0.7312, low=0.69, high=0.7712),
    HeldOutPoint(round=20, sites=1, accuracy=None, low=0.0, high=1.0),
)


def test_both_pages_show_each_point_and_say_what_it_is() -> None:
    report = a_report(held_out=POINTS)
    markdown, page = render_markdown(report), render_html(report)
    assert "| 10 | 2 | 73.1 [69.0, 77.1] |" in markdown
    assert "| 20 | 1 | hidden by the noise [0.0, 100.0] |" in markdown
    assert "<b>73.1</b>" in page and "69.0–77.1" in page and "hidden by the noise" in page
    for text in (markdown, page):
        assert WHAT_HELD_OUT_IS in text
    assert "on records that nobody else sees, noised and charged" in WHAT_HELD_OUT_IS


def test_a_run_that_measured_nothing_shows_nothing() -> None:
    report = a_report()
    assert "Held out at the sites" not in render_html(report)
    assert "held-out accuracy" not in render_markdown(report)


def test_a_report_without_points_is_still_of_its_version() -> None:
    tree = json.loads(a_report().model_dump_json())
    assert tree.pop("held_out") == [] and tree["version"] == 3
    assert Report.model_validate(tree) == a_report()
