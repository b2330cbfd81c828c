"""The report as one page that opens offline."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

from fedloom.server.evaluator.evaluation import Evaluation
from fedloom.server.release.decision import Decision
from fedloom.server.report.audits import audit_views, told_chance, without_answer
from fedloom.server.report.charts import chart_svg
from fedloom.server.report.compliance import compliance_of
from fedloom.server.report.headline import concern_of, headline
from fedloom.server.report.held_out import WHAT_HELD_OUT_IS
from fedloom.server.report.plots import arms_plot, curve_plot, epsilon_plot
from fedloom.server.report.rounds import by_round_table, figures_by_round
from fedloom.server.report.schema import Arm, Report
from fedloom.server.report.sites import WHAT_A_HEAD_IS_FOR, stop_in_words
from fedloom.server.report.templates import drawing, environment, page_text
from fedloom.shared.config.data import JOINT

if TYPE_CHECKING:
    from markupsafe import Markup

_NOTHING: Mapping[int, Evaluation] = MappingProxyType({})


def render_html(
    report: Report,
    evaluation: Evaluation | None = None,
    decision: Decision | None = None,
    after: Mapping[int, Evaluation] = _NOTHING,
) -> str:
    """One self-contained page: no scripts, no fetches, every name escaped; `after` are what the
    suite measured after rounds, by round."""
    arms, privacy = report.evaluation, report.privacy
    return (
        environment()
        .get_template("page.html.j2")
        .render(
            report=report,
            style=drawing(page_text("style.css")),
            headline=headline(report),
            concern=concern_of(report),
            stops=[stop_in_words(stop, report.rounds) for stop in report.stops],
            tests=_tests(report),
            best_alone=_best_alone(report),
            # Planned is what the run set out to promise; repeatable noise keeps no promise.
            planned=privacy.epsilon is not None,
            promised=privacy.promises,
            head_is_for=WHAT_A_HEAD_IS_FOR,
            held_out_is=WHAT_HELD_OUT_IS,
            curve=drawing(curve_plot(report.curve)) if report.curve else "",
            spent=_epsilon(report),
            arms=drawing(arms_plot(arms, JOINT)) if arms else "",
            decision=decision,
            compliance=compliance_of(report, evaluation),
            **_by_round(report, evaluation, after),
            **_audited(evaluation),
        )
    )


def _by_round(
    report: Report, evaluation: Evaluation | None, after: Mapping[int, Evaluation]
) -> dict[str, object]:
    """The suite's figures over the rounds: drawings with their titles, and a table."""
    last = report.training.rounds
    found = figures_by_round(evaluation, after, last=last) if evaluation else ()
    charts = [one.chart for one in found]
    drawn = [
        (chart.title, drawing(chart_svg(chart, name=f"round-{at}")))
        for at, chart in enumerate(charts)
    ]
    return {"figures_drawn": drawn, "figures_table": by_round_table(found) if found else None}


def render_evaluation(evaluation: Evaluation) -> str:
    """What a suite measured away from any run, as a page of its own."""
    page = environment().get_template("evaluation.html.j2")
    return page.render(style=drawing(page_text("style.css")), **_audited(evaluation))


def _audited(evaluation: Evaluation | None) -> dict[str, object]:
    return {
        "audited": evaluation,
        "views": audit_views(evaluation) if evaluation else (),
        "unanswered": without_answer(evaluation) if evaluation else {},
        "told_chance": evaluation is not None and told_chance(evaluation),
    }


def _epsilon(report: Report) -> "Markup | str":
    if not report.epsilon_by_round:
        return ""
    return drawing(epsilon_plot(report.epsilon_by_round, report.privacy.epsilon))


def _tests(report: Report) -> list[str]:
    """The test sets' names, the joint one first as it is what the page compares."""
    names = list(report.evaluation[0].tests) if report.evaluation else []
    return sorted(names, key=lambda name: name != JOINT)


def _best_alone(report: Report) -> Arm | None:
    alone = [arm for arm in report.evaluation if arm.kind == "alone"]
    return max(alone, key=lambda arm: arm.tests[JOINT].accuracy.value, default=None)
