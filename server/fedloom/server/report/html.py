"""The report as one page that opens offline."""

from importlib.resources import files

from fedloom.server.report.headline import headline, in_bytes, in_percent, in_points
from fedloom.server.report.plots import arms_plot, curve_plot, epsilon_plot
from fedloom.server.report.schema import Report

_PACKAGE = "fedloom.server.report"


def render_html(report: Report) -> str:
    """One self-contained page: no scripts, no fetches, every name escaped."""
    from jinja2 import Environment, StrictUndefined
    from markupsafe import Markup

    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    environment.filters |= {"bytes": in_bytes, "percent": in_percent, "points": in_points}
    template = environment.from_string((files(_PACKAGE) / "template.html.j2").read_text("utf-8"))
    tests = list(report.evaluation[0].tests) if report.evaluation else []
    return template.render(
        report=report,
        headline=headline(report),
        tests=tests,
        # Our own drawings, not a peer's text.
        curve=Markup(curve_plot(report.curve)) if report.curve else "",  # noqa: S704
        spent=_epsilon(report),
        arms=Markup(arms_plot(report.evaluation, "joint")) if tests else "",  # noqa: S704
    )


def _epsilon(report: Report) -> str:
    from markupsafe import Markup

    if not report.epsilon_by_round:
        return ""
    drawn = epsilon_plot(report.epsilon_by_round, report.privacy.epsilon)
    return Markup(drawn)  # noqa: S704 - site names become paths, not text
