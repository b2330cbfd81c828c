"""The report as one page that opens offline."""

from importlib.resources import files
from math import exp
from typing import TYPE_CHECKING

from fedloom.server.evaluator.findings import Evaluation
from fedloom.server.release.decision import Decision
from fedloom.server.report.audits import audit_views, in_cell, in_digits, in_unit, without_answer
from fedloom.server.report.compliance import compliance_of
from fedloom.server.report.headline import concern_of, headline, in_bytes, in_percent, in_points
from fedloom.server.report.held_out import WHAT_HELD_OUT_IS
from fedloom.server.report.plots import arms_plot, curve_plot, epsilon_plot
from fedloom.server.report.schema import Arm, Report
from fedloom.server.report.sites import WHAT_A_HEAD_IS_FOR, stop_in_words
from fedloom.shared.config.sections import JOINT
from fedloom.shared.words import count

if TYPE_CHECKING:
    from jinja2 import Environment
    from markupsafe import Markup

_PAGES = "fedloom.server.report.pages"
_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def render_html(
    report: Report, evaluation: Evaluation | None = None, decision: Decision | None = None
) -> str:
    """One self-contained page: no scripts, no fetches, every name escaped."""
    arms, privacy = report.evaluation, report.privacy
    return (
        _environment()
        .get_template("page.html.j2")
        .render(
            report=report,
            style=_drawing(_page("style.css")),
            headline=headline(report),
            concern=concern_of(report),
            stops=[stop_in_words(stop, report.rounds) for stop in report.stops],
            tests=_tests(report),
            best_alone=_best_alone(report),
            # Planned is what the run set out to promise; repeatable noise keeps no promise.
            planned=privacy.epsilon is not None,
            promised=privacy.epsilon is not None and not privacy.seeded,
            head_is_for=WHAT_A_HEAD_IS_FOR,
            held_out_is=WHAT_HELD_OUT_IS,
            curve=_drawing(curve_plot(report.curve)) if report.curve else "",
            spent=_epsilon(report),
            arms=_drawing(arms_plot(arms, JOINT)) if arms else "",
            decision=decision,
            compliance=compliance_of(report, evaluation),
            **_audited(evaluation),
        )
    )


def render_evaluation(evaluation: Evaluation) -> str:
    """What a suite measured away from any run, as a page of its own."""
    page = _environment().get_template("evaluation.html.j2")
    return page.render(style=_drawing(_page("style.css")), **_audited(evaluation))


def _audited(evaluation: Evaluation | None) -> dict[str, object]:
    return {
        "audited": evaluation,
        "views": audit_views(evaluation) if evaluation else (),
        "unanswered": without_answer(evaluation) if evaluation else (),
    }


def _page(name: str) -> str:
    return (files(_PAGES) / name).read_text("utf-8")


def _environment() -> "Environment":
    from jinja2 import Environment, FunctionLoader, StrictUndefined

    environment = Environment(
        loader=FunctionLoader(_page),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "bytes": in_bytes,
        "percent": in_percent,
        "points": lambda difference: in_points(difference).replace("-", "−"),
        "counted": count,
        "factor": _factor,
        "power": _power,
        "in_unit": in_unit,
        "in_digits": in_digits,
        "in_cell": in_cell,
        "drawn": _drawing,
    }
    return environment


def _epsilon(report: Report) -> "Markup | str":
    if not report.epsilon_by_round:
        return ""
    return _drawing(epsilon_plot(report.epsilon_by_round, report.privacy.epsilon))


def _drawing(svg: str) -> "Markup":
    from markupsafe import Markup

    return Markup(svg)  # noqa: S704 - our own drawing; names in it are outlines, not text


def _tests(report: Report) -> list[str]:
    """The test sets' names, the joint one first as it is what the page compares."""
    names = list(report.evaluation[0].tests) if report.evaluation else []
    return sorted(names, key=lambda name: name != JOINT)


def _best_alone(report: Report) -> Arm | None:
    alone = [arm for arm in report.evaluation if arm.kind == "alone"]
    return max(alone, key=lambda arm: arm.tests[JOINT].accuracy.value, default=None)


def _factor(epsilon: float) -> str:
    """e to the epsilon, for people."""
    # Beyond this, digits inform nobody, and large epsilons would overflow.
    if epsilon > 20:
        return "more than 485 million"
    factor = exp(epsilon)
    return f"{factor:,.0f}" if factor >= 100 else f"{factor:.3g}"


def _power(chance: float) -> str:
    """A small number as a power of ten, with a factor where it is not 1."""
    mantissa, exponent = f"{chance:.1e}".split("e")
    ten = "10" + str(int(exponent)).translate(_SUPERSCRIPTS)
    return ten if mantissa == "1.0" else f"{mantissa} × {ten}"
