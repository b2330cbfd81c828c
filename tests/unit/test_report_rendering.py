"""The report's page and its Markdown: what they say, and what they must never do."""

import html
import re
from collections.abc import Iterator

import matplotlib as mpl
import pytest

from fedloom.server.report.compliance import compliance_of
from fedloom.server.report.facts import Stop, TaskFacts
from fedloom.server.report.headline import concern_of
from fedloom.server.report.html import render_html
from fedloom.server.report.markdown import render_markdown
from fedloom.server.report.plots import arms_plot, curve_plot, epsilon_plot
from fedloom.server.report.schema import (
    CurvePoint,
    Estimate,
    Report,
)
from tests.support.reports import (
    DIGEST,
    HOSTILE,
    Page,
    a_privacy,
    a_report,
    a_round,
    a_site,
    an_arm,
    without_privacy,
)


def said(report: Report) -> str:
    """The page's text, white space made single."""
    return " ".join(Page(render_html(report)).text.split())


def varieties() -> Iterator[Report]:
    """Every shape of report that a run can leave."""
    yield a_report()
    yield a_report(privacy=a_privacy(seeded=True), holdout="validation")
    yield without_privacy()
    yield a_report(curve=(), evaluation=(), rounds=(), sites=(), epsilon_by_round={})


@pytest.mark.parametrize("report", varieties(), ids=("whole", "seeded", "plain", "empty"))
def test_page_fetches_nothing(report: Report) -> None:
    """Catches a web font, a script or a link that tells others who reads the report."""
    page = render_html(report)
    parsed = Page(page)
    assert not {"script", "link", "img", "iframe", "object", "base", "image"} & set(parsed.tags)
    addresses = set(re.findall(r"""\w+://[^\s"'<>)]*""", page))
    assert addresses <= {"http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"}
    assert "@import" not in page
    targets = [value for name, value in parsed.attributes if name in {"href", "xlink:href", "src"}]
    assert all(target.startswith("#") for target in targets)
    assert set(re.findall(r"url\((.)", page)) <= {"#"}


def test_ids_of_several_plots_do_not_clash() -> None:
    """Catches a clip path of one plot that cuts another, and references that lead nowhere."""
    page = render_html(a_report())
    ids = [value for name, value in Page(page).attributes if name == "id"]
    assert len(ids) == len(set(ids))
    used = set(re.findall(r'(?:url\(#|href="#)([^")]+)', page))
    assert used
    assert used <= set(ids)


def test_hostile_names_stay_text() -> None:
    """Catches autoescape switched off, also in drawings, and a dollar sign read as mathematics."""
    arm = an_arm(HOSTILE, "federation", 0.7)
    report = a_report(
        name=HOSTILE,
        sites=(a_site(HOSTILE, digest=HOSTILE),),
        stops=(Stop(site=HOSTILE, round=1, rule=HOSTILE),),
        evaluation=(arm,),
        omitted=(HOSTILE,),
        epsilon_by_round={HOSTILE: (1.0, 2.0)},
        rounds=(a_round(1, fault=HOSTILE),),
        task=TaskFacts(kind=HOSTILE, labels=(HOSTILE, "b")),
        privacy=a_privacy(unit=HOSTILE, relation=HOSTILE, accountant=HOSTILE),
    )
    page = render_html(report)
    assert "script" not in Page(page).tags
    assert "<script" not in page.lower()
    assert HOSTILE in said(report)


def test_hostile_names_stay_in_their_markdown_cell() -> None:
    """Catches a bar that adds a column, a line break that adds a row, and live HTML."""
    name = f"{HOSTILE}\n| forged | 0 |"
    text = render_markdown(
        a_report(
            name=name,
            evaluation=(an_arm(name, "federation", 0.7),),
            sites=(a_site(name, digest=name),),
            stops=(Stop(site=name, round=1, rule=name),),
        )
    )
    assert "<script" not in text
    rows = [re.sub(r"\\\|", "", line) for line in text.splitlines() if line.startswith("|")]
    assert [row.count("|") for row in rows] == [7, 7, 7, 4, 4, 4, 5, 5, 5]


def test_page_answers_first_things_first() -> None:
    """Catches a wrong sign, a difference in per cent, a wrong arm and a swapped direction."""
    text = said(a_report())
    order = ("What was promised", "What privacy cost", "What federating bought", "left each site")
    found = [text.index(each) for each in (*order, "Comparison", "Caveats", "Provenance")]
    assert found == sorted(found)
    assert "ε = 8 to each patient at every site, over the whole run, with δ = 10⁻⁵" in text
    assert "= 2,981 times as likely" in text
    assert "−7.3 points of accuracy: 75.0 % with privacy, 82.3 % without" in text
    assert "+8.0 points over the sites alone, 67.0 % on average; best 70.0 %, alone-north" in text
    assert "6.2 MB of noised adapter updates at most, over 2 rounds; 6.4 MB came in" in text
    short = render_markdown(a_report())
    assert "what privacy cost: -7.3 points (without privacy: 82.3 %)" in short
    assert "what federating bought: +8.0 points" in short
    assert "epsilon 8, delta 1e-05 at each site for each patient" in short


def test_page_has_each_figure_in_its_table() -> None:
    """Catches mixed-up columns, a fault kept quiet and an interval's ends swapped."""
    text = said(a_report())
    assert "federation federation, told 8 75.0 72.0–78.0 77.0 74.0–80.0" in text
    assert "federation joint 73.9 70.9–76.9 0.612 0.582–0.642 5.7 2.7–8.7" in text
    assert "north 12,345 7.900 0.125 of 8.5 10⁻⁵ 0.714 0.0321 48 6.2 MB 6.4 MB" in text
    assert "2 1 of 2 31.4 south: no reply in time" in text
    assert "guarantees are not summed" in text
    assert "not itself a private release" in text


def test_a_sites_ledger_and_budget_are_shown() -> None:
    """Catches a digest that cannot be compared, a budget without its whole, and a bare dash."""
    report = a_report(sites=(a_site("north"), a_site("south", spent=8.5, left=0.0)))
    page, text, short = render_html(report), said(report), render_markdown(report)
    assert "6.4 MB entry 9 0123456789ab" in text
    assert DIGEST not in text and ("title", DIGEST) in Page(page).attributes
    assert "south 12,345 8.500 0.000 of 8.5" in text
    assert "| north | 7.900 | 0.125 of 8.5 | entry 9, `0123456789ab` |" in short
    assert "| south | 8.500 | 0.000 of 8.5 |" in short
    for each in (text, short):
        assert "sees whether an entry was changed or taken away since" in each


def test_a_site_that_said_nothing_of_itself_is_a_dash() -> None:
    """Catches a crash, and silence that looks like an empty budget."""
    silent = a_site("north", spent=None, left=None).model_copy(update={"ledger_head": None})
    report = a_report(sites=(silent,))
    assert "north 12,345 – – 10⁻⁵" in said(report)
    assert "6.4 MB – Privacy units" in said(report).replace("</td>", "")
    assert "| north | – | – | – |" in render_markdown(report)


def test_sites_that_refused_are_told_at_once() -> None:
    """Catches a stop that only the table of rounds tells, and a note where nobody refused."""
    stops = (Stop(site="north", round=7, rule="epsilon"), Stop(site="south", round=2, rule="start"))
    report = a_report(stops=stops)
    for text in (said(report), render_markdown(report)):
        first = text.index(
            "north stopped at round 7: its ledger has no budget left for it (rule epsilon); "
            "the others went on"
        )
        assert first < text.index("south first refused at round 2, by its rule start")
        assert first < text.index("macro-F1")
    assert "Sites that refused" in said(report) and "Sites that refused" not in said(a_report())
    assert "refused" not in render_markdown(a_report())


@pytest.mark.parametrize("seeded", [True, False])
def test_seeded_runs_promise_nothing(seeded: bool) -> None:
    """Catches a seeded run that passes for private, and a private one that alarms."""
    report = a_report(privacy=a_privacy(seeded=seeded))
    text, short = said(report), render_markdown(report)
    assert ("Seeded: not private" in text) is seeded
    assert ("SEEDED: NOT PRIVATE" in short) is seeded
    assert ("promised: nothing" in short) is seeded
    assert ("What ε = 8 means" in text) is not seeded
    assert ("guarantees are not summed" in text) is not seeded


def test_runs_without_privacy_say_so_and_claim_no_noise() -> None:
    """Catches `noised`, an epsilon or a delta on the page of a run that had none."""
    text, short = said(without_privacy()), render_markdown(without_privacy())
    assert "Trained without privacy" in text
    assert "TRAINED WITHOUT PRIVACY" in short
    assert "noised" not in text
    assert "north 12,345 – – – – 0.0321" in text
    assert "Trained without privacy" not in said(a_report())


def test_validation_scores_are_not_passed_off_as_test_scores() -> None:
    """Catches hyperparameters chosen on the very records that are then reported."""
    validation = a_report(holdout="validation")
    assert "Scores are on validation records" in said(validation)
    assert "Scores are on validation records" in render_markdown(validation)
    assert "Scores are on validation records" not in said(a_report())


@pytest.mark.parametrize(
    ("accuracy", "words"),
    [(0.52, "has learned little"), (0.75, "overconfident"), (0.8, None)],
)
def test_figures_that_look_better_than_they_are_get_a_note(
    accuracy: float, words: str | None
) -> None:
    """Catches a run that learned nothing, or whose probabilities mislead, told without a word."""
    federation = an_arm("federation", "federation", accuracy, epsilon=8.0)
    joint = federation.tests["joint"]
    loss = Estimate(value=0.9 if words == "overconfident" else 0.4, low=0.3, high=1.0)
    joint = joint.model_copy(update={"loss": loss})
    federation = federation.model_copy(update={"tests": {**federation.tests, "joint": joint}})
    report = a_report(evaluation=(an_arm("majority", "majority", 0.5), federation))
    concern = concern_of(report)
    assert (concern is None) if words is None else (words in str(concern))
    assert ("Note" in said(report)) == (words is not None)


def test_arms_that_were_not_run_are_named() -> None:
    """Catches a missing arm shown as zero, and a crash without it."""
    alone = a_report(
        evaluation=(an_arm("federation", "federation", 0.75, epsilon=8.0),),
        omitted=("non-private: not run, --compare all runs it",),
    )
    text = said(alone)
    assert "– accuracy is 75.0 %; not measured: the arm without privacy was not run" in text
    assert "– not measured: the sites alone were not trained" in text
    assert "non-private: not run, --compare all runs it" in text
    short = render_markdown(alone)
    assert "non-private: not run, --compare all runs it" in short
    assert "privacy cost: not measured" in short and "federating bought: not measured" in short


def test_what_was_changed_against_bias_is_told_wherever_the_run_is() -> None:
    """A federation that trains with mitigation looked like one that does not."""
    plain = a_report()
    training = plain.training.model_copy(update={"mitigation": ("times a weight by <sex>: m 0.5",)})
    mitigated = a_report(training=training)
    told = "each record’s loss is changed against bias: times a weight by <sex>: m 0.5"
    assert f"leave a site. In training, {told}." in said(mitigated)
    assert html.escape(told, quote=False) in render_markdown(mitigated)
    for report, words in ((mitigated, told), (plain, "nothing is changed against bias")):
        facts = {fact.about: fact.known for fact in compliance_of(report, None).done}
        assert words in facts["mitigation of bias"]
        assert ("against bias" in render_markdown(report)) is (report is mitigated)


def test_report_survives_its_own_json() -> None:
    """Catches a field that is written as something that cannot be read."""
    report = a_report()
    assert Report.model_validate_json(report.model_dump_json()) == report


def test_plots_are_reproducible_and_leave_matplotlib_alone() -> None:
    """Catches ids from chance, a date in the file, and a style that leaks to the caller."""
    before = dict(mpl.rcParams)
    report = a_report()
    assert render_html(report) == render_html(report)
    assert dict(mpl.rcParams) == before


def test_plots_cope_with_extremes() -> None:
    """Catches an empty axis, one round, more sites than colours and a run of many rounds."""
    point = CurvePoint(round=0, records=1, accuracy=0.0, loss=9.0)
    assert curve_plot([point]).startswith("<svg")
    many = {f"s{at}": [0.1 * (at + 1)] * 300 for at in range(40)}
    drawn = epsilon_plot(many, None)
    assert drawn.count("<use") < 300
    assert epsilon_plot({"a": ()}, None).startswith("<svg")
    assert "var(--accent, #0b6e6e)" in arms_plot(a_report().evaluation, "joint")


def test_a_deployments_report_claims_no_simulation_and_no_score() -> None:
    """Nobody scored anything, and the caveats of a simulation would be false."""
    report = a_report(setting="deployment", evaluation=(), curve=())
    page, text = render_html(report), render_markdown(report)
    assert "This is a simulation" in render_html(a_report())
    for words in ("This is a simulation", "scored on", "the arm without privacy was not run"):
        assert words not in page
    assert "has seen no record" in page
    assert "accuracy of the federation" in render_markdown(a_report())
    assert "accuracy of the federation" not in text and "left each site" in text


def test_intervals_over_units_are_said_to_be() -> None:
    """On page and in short, once; and over records where each record is a unit."""
    arm = an_arm("ours", "federation", 0.7)
    tests = {name: of.model_copy(update={"units": 212}) for name, of in arm.tests.items()}
    report = a_report(evaluation=(arm.model_copy(update={"tests": tests}),))
    assert said(report).count("95 % intervals over 212 units (patient)") == 1
    assert render_markdown(report).count("over 212 units (patient)") == 1
    plain = a_report(evaluation=(arm,))
    assert "95 % intervals over records of one trained model" in said(plain)
    assert "(patient), with" not in said(plain) + render_markdown(plain)
