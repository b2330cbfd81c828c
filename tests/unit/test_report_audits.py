"""What a suite measured, what was decided and what an assessment asks for, on the page."""

import re

import pytest

from fedloom.server.evaluator.evaluation import Comparison, Evaluation, SubjectFindings
from fedloom.server.evaluator.findings import (
    AuditFindings,
    Chart,
    Figure,
    Series,
    Shown,
    Span,
    Table,
)
from fedloom.server.release.decision import Decision, Evidence
from fedloom.server.release.gate import decide
from fedloom.server.report.bars import bar_names
from fedloom.server.report.charts import chart_svg
from fedloom.server.report.compliance import compliance_of
from fedloom.server.report.figures import in_cell, in_unit
from fedloom.server.report.html import render_evaluation, render_html
from fedloom.shared.config.release import ReleaseRule, ReleaseSection
from tests.support.reports import DIGEST, HOSTILE, Page, a_privacy, a_report, without_privacy

EVIDENCE = Evidence(
    adapter_sha256=DIGEST,
    plan_sha256=DIGEST,
    terms_sha256=DIGEST,
    report_sha256=DIGEST,
    evaluation_sha256=DIGEST,
)


def a_figure(key: str, value: float, **changes: object) -> Figure:
    fields: dict[str, object] = {
        "key": key,
        "words": f"{key} in words",
        "value": value,
        "low": value - 0.01,
        "high": value + 0.01,
        "records": 1234,
        "better": "higher",
        "unit": "share",
    }
    return Figure.model_validate(fields | changes)


def validation(accuracy: float, *, name: str = "validation") -> AuditFindings:
    bars = Chart(
        kind="bars",
        title=name,
        x="",
        y=name,
        series=(Series(name=name, x=(name, "b"), y=(0.5, 0.6)),),
        note=name,
    )
    return AuditFindings(
        audit="validation",
        title=name,
        asks=f"{name}?",
        figures=(a_figure("accuracy", accuracy, words=name), a_figure("ece", 0.07)),
        tables=(Table(title=name, columns=(name, "n"), rows=((name, 12345), (None, 0.5))),),
        charts=(bars,),
        shown=(
            Shown(
                title=name,
                spans=(Span(text=name, weight=-0.5), Span(text="plain")),
                facts=((name, name),),
                note=name,
            ),
        ),
        caveats=(name,),
        sources=(name,),
    )


def an_evaluation(*, name: str = "validation", figures: tuple[Figure, ...] = ()) -> Evaluation:
    other = AuditFindings(
        audit="membership", title="Membership", asks="Who?", figures=figures, applies=bool(figures),
        why_not="" if figures else "no members at hand",
    )  # fmt: skip
    subjects = [("federation", "federation", 0.781, 8.0), ("base", "base", 0.563, None)]
    return Evaluation(
        fedloom="0.1.0",
        suite=name,
        suite_sha256=DIGEST,
        model_name=name,
        model_sha256=DIGEST,
        about="federation",
        subjects=tuple(
            SubjectFindings(
                name=subject,
                kind=kind,
                description=name,
                adapter_sha256=DIGEST,
                epsilon=epsilon,
                audits=(validation(accuracy, name=name), other),
            )
            for subject, kind, accuracy, epsilon in subjects
        ),
        comparisons=(
            Comparison(
                audit="validation",
                key="accuracy",
                subject="federation",
                against="base",
                difference=0.218,
                low=0.2,
                high=0.236,
                p_value=1e-9,
                records=1234,
            ),
        ),
        seconds=41.7,
    )


def said(page: str) -> str:
    return " ".join(Page(page).text.split())


def a_decision(least: float, evaluation: Evaluation | None = None) -> Decision:
    rule = ReleaseRule(figure="validation.accuracy", at_least=least)
    section = ReleaseSection(rules=(rule,))
    return decide(section, evaluation or an_evaluation(), a_report(), evidence=EVIDENCE)


def test_adapters_stand_side_by_side_with_intervals_and_differences() -> None:
    text = said(render_html(a_report(), an_evaluation()))
    assert "78.1 % 77.1 to 79.1 56.3 % 55.3 to 57.3" in text
    assert "+21.8 points [20.0, 23.6] against base, p < 0.001" in text
    assert "higher is better, n = 1,234" in text


@pytest.mark.parametrize(
    ("applies", "heading"), [(True, "Not measured"), (False, "Does not apply to this adapter")]
)
def test_an_audit_without_figures_is_named_with_its_reason_and_has_no_card(
    applies: bool, heading: str
) -> None:
    """One that lacked something is not one that is of no concern."""
    found = an_evaluation()
    changed = found.subject.audits[1].model_copy(update={"applies": applies})
    page = render_html(a_report(), found.with_audits([changed]))
    assert f"<b>{heading}</b><ul><li>Membership: no members at hand</li></ul>" in page
    assert page.count("no members at hand") == 2, "in one list, and in the assessment"
    assert "audit-membership" not in page


@pytest.mark.parametrize("whole", [True, False], ids=("report", "evaluation alone"))
def test_every_name_is_escaped_and_nothing_is_fetched(whole: bool) -> None:
    found = an_evaluation(name=HOSTILE)
    page = render_html(a_report(), found) if whole else render_evaluation(found)
    parsed = Page(page)
    assert not {"script", "link", "img", "iframe"} & set(parsed.tags)
    assert HOSTILE in said(page)


def test_two_charts_of_a_page_share_no_id() -> None:
    ids = [
        value
        for name, value in Page(render_html(a_report(), an_evaluation())).attributes
        if name == "id"
    ]
    assert len(ids) == len(set(ids))


def test_a_held_adapter_is_held_on_the_page_with_rule_value_and_threshold() -> None:
    decision = a_decision(0.9)
    assert not decision.released
    text = said(render_html(a_report(), an_evaluation(), decision))
    assert "Held by validation.accuracy.at_least" in text
    assert "0.781 0.771 to 0.791 at least 0.9 low end of the interval" in text
    assert "No decision yet" not in text


def test_a_released_adapter_is_released_on_the_page() -> None:
    decision = a_decision(0.7)
    assert decision.released
    text = said(render_html(a_report(), an_evaluation(), decision))
    assert "Released the adapter may leave" in text


def test_the_assessment_says_what_is_known_and_what_is_not() -> None:
    found = compliance_of(a_report(), an_evaluation(figures=(a_figure("auc", 0.512),)))
    measured = {fact.about: fact.known for fact in found.measured}
    auc = next(known for about, known in measured.items() if "membership inference" in about)
    canaries = next(known for about, known in measured.items() if "canaries" in about)
    assert auc == "51.2 % (95 % interval 50.2 % to 52.2 %)"
    assert canaries == "not measured"
    assert "epsilon 8, delta 1e-05 for each patient" in found.promised[0].known
    approved = {fact.about: fact.known for fact in found.approved}
    assert approved["site north"].endswith("in 2 rounds")
    assert approved["site south"].endswith("in 1 round")


@pytest.mark.parametrize(
    ("report", "why"),
    [
        (without_privacy(), "trained without differential privacy"),
        (a_report(privacy=a_privacy(seeded=True)), "noise was repeatable"),
    ],
)
def test_where_nothing_was_promised_the_assessment_says_so(report: object, why: str) -> None:
    found = compliance_of(report, None)
    assert [fact.known for fact in found.promised] == [f"none; {why}"]
    assert "no suite of audits was run" in " ".join(found.not_covered)


def test_chance_stands_beside_a_gap_in_its_unit_and_nowhere_else() -> None:
    gap = a_figure("worst_group_gap", 0.07, unit="difference", chance=0.041)
    found = an_evaluation(figures=(gap,))
    for page in (render_html(a_report(), found), render_evaluation(found)):
        text = said(page)
        assert "7.0 points 6.0 to 8.0 by chance 4.1 points" in text
        assert text.count("by chance 4.1 points") == 2, "one for each adapter"
        assert "By chance is what would come out if there were nothing to find" in text
    assert "nothing to find" not in said(render_evaluation(an_evaluation()))


def test_the_assessment_has_chance_in_the_unit_of_the_figure() -> None:
    """0.5 in words beside 51.2 % is two scales in one line."""
    auc = a_figure("auc", 0.512, chance=0.5)
    found = compliance_of(a_report(), an_evaluation(figures=(auc,)))
    (fact,) = [fact for fact in found.measured if "AUC" in fact.about]
    assert fact.known == "51.2 % (95 % interval 50.2 % to 52.2 %; by chance 50.0 %)"
    assert not [each.about for each in found.measured if "0.5" in each.about]


def test_what_is_known_of_the_records_is_said_and_no_more() -> None:
    given, held_out = (
        an_evaluation().model_copy(update={"held_out": known}) for known in (False, True)
    )
    assert "whether they were trained on is not known here" in said(render_evaluation(given))
    assert "no site trained on them" not in said(render_evaluation(given))
    assert "held out: no site trained on them" in said(render_html(a_report(), held_out))


def test_each_cell_of_the_decision_says_what_it_is_where_columns_have_no_room() -> None:
    page = render_html(a_report(), an_evaluation(), a_decision(0.7))
    table = page.partition('<table class="rules">')[2].partition("</table>")[0]
    cells = re.findall("<td[^>]*>", table.partition("<tbody>")[2])
    named = [re.search('data-is="(.*?)"', cell) for cell in cells]
    assert [one.group(1) for one in named if one] == ["outcome", "measured", "wanted"] * (
        len(cells) // 3
    )
    narrow = page.partition("content:attr(data-is)")[0].rpartition("@media")[2]
    assert "max-width:520px" in narrow and ".rules tr { display:block" in narrow


def test_numbers_are_written_as_their_unit_bears() -> None:
    assert in_unit(0.7812, "share") == "78.1 %"
    assert in_unit(-0.031, "difference") == "-3.1 points"
    assert in_unit(2.345, "epsilon") == "2.35"
    assert [in_cell(value) for value in (None, 12345, 0.5, "x")] == ["–", "12,345", "0.500", "x"]


def test_many_bars_lie_on_their_side_and_none_is_lost() -> None:
    def bars(count: int) -> str:
        names = tuple(f"n{at}" for at in range(count))
        series = Series(
            name="s", x=names, y=(0.1,) * count, low=(0.0,) * count, high=(0.2,) * count
        )
        return chart_svg(Chart(kind="bars", title="t", x="x", y="y", series=(series,)), name="c")

    upright, lying = bars(4), bars(20)
    height = [float(page.split('height="')[1].split("pt")[0]) for page in (upright, lying)]
    assert height[1] > 1.5 * height[0]


def test_bars_over_numbers_are_a_histogram_with_few_ticks() -> None:
    """24 bins were 24 bars on their side, each with six digits of its middle."""
    middles = tuple(-0.9731 + 0.1237 * at for at in range(24))
    series = tuple(Series(name=name, x=middles, y=tuple(map(float, range(24)))) for name in "ab")
    drawn = chart_svg(Chart(kind="bars", title="t", x="score", y="n", series=series), name="c")
    assert 2 <= len(set(re.findall(r'id="c-xtick_\d+"', drawn))) <= 10
    width, height = (
        float(drawn.split(f'{side}="')[1].split("pt")[0]) for side in ("width", "height")
    )
    assert width > height


def test_rounds_are_whole_and_a_long_label_stays_on_the_drawing() -> None:
    series = Series(name="s", x=(0.0, 1.0, 2.0), y=(0.1, 0.2, 0.3))
    drawn = [
        chart_svg(Chart(kind="line", title="t", x="x", y=label, series=(series,)), name="c")
        for label in ("short", "a label that is much longer than the drawing is high, and goes on")
    ]
    assert len(set(re.findall(r'id="c-xtick_\d+"', drawn[0]))) == 3
    # Two lines of label take more of the width; one was cut at both ends.
    left = [float(re.findall(r'id="c-patch_2">\n *<path d="M (\S+)', one)[0]) for one in drawn]
    assert left[1] > left[0] + 5


def test_bars_stand_at_their_own_names_where_series_have_others() -> None:
    short = Series(name="records", x=("gender", "neutral"), y=(0.1, 0.2))
    long = Series(name="templates", x=("gender", "names", "neutral"), y=(0.1, 0.5, 0.2))
    chart = Chart(kind="bars", title="t", x="x", y="y", series=(short, long))
    assert bar_names(chart) == ["gender", "neutral", "names"]
    assert chart_svg(chart, name="c").startswith("<svg")


def test_what_holds_for_all_audits_is_said_once() -> None:
    caveat = "The 40 labelled records are of 8 units."
    page = said(render_evaluation(an_evaluation().model_copy(update={"caveats": (caveat,)})))
    assert page.count(caveat) == 1


def test_the_assessment_says_what_so_few_canaries_could_have_shown() -> None:
    """A bound of 0 from canaries that could not contradict the promise is no good news."""
    bounded = AuditFindings(
        audit="canaries",
        title="Privacy, measured",
        asks="Who?",
        figures=(
            a_figure("epsilon_lower_bound", 0.0, low=None, high=None, unit="epsilon"),
            a_figure("epsilon_most", 4.69, low=None, high=None, unit="epsilon"),
        ),
    )
    found = compliance_of(a_report(), an_evaluation().with_audits([bounded]))
    (fact,) = [fact for fact in found.measured if "ε is at least" in fact.about]
    assert fact.known == "0.00 (so many canaries could have shown 4.69 at most)"
