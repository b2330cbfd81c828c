"""The report in short, for a terminal or a ticket."""

from collections.abc import Iterator

from fedloom.server.report.headline import headline, in_bytes, in_percent, in_points
from fedloom.server.report.schema import Estimate, Report


def render_markdown(report: Report) -> str:
    """Headline facts, the comparison and the sites."""
    return "\n".join([*_facts(report), "", *_comparison(report), "", *_sites(report), ""])


def _facts(report: Report) -> Iterator[str]:
    head, privacy = headline(report), report.privacy
    yield f"# {report.name}"
    yield ""
    if privacy.seeded:
        yield "**SEEDED: NOT PRIVATE.** The noise was repeatable and protects nobody."
        yield ""
    if privacy.epsilon is None:
        yield "- promised: nothing; trained without differential privacy"
    else:
        yield (
            f"- promised: epsilon {privacy.epsilon:g}, delta {privacy.delta:g} at each site for "
            f"each {privacy.unit}, {privacy.relation}, accountant {privacy.accountant}"
        )
    yield f"- accuracy of the federation: {in_percent(head.federation)} ({report.holdout} records)"
    yield f"- what privacy cost: {in_points(head.privacy_cost)}"
    yield f"- what federating bought: {in_points(head.federating_gain)}"
    yield f"- left each site: {in_bytes(head.bytes_up)} in all"
    yield f"- plan `{report.plan_sha256}`"


def _comparison(report: Report) -> Iterator[str]:
    yield "| arm | test set | accuracy | macro-F1 | loss | ECE |"
    yield "|---|---|---|---|---|---|"
    for arm in report.evaluation:
        for name, scores in arm.tests.items():
            cells = (scores.accuracy, scores.macro_f1, scores.loss, scores.ece)
            figures = " | ".join(_with_interval(cell) for cell in cells)
            yield f"| {arm.name} | {name} ({scores.records}) | {figures} |"
    yield from (f"\n- {omitted}" for omitted in report.omitted)


def _sites(report: Report) -> Iterator[str]:
    yield "| site | units | epsilon spent | noise | rate | steps | up | down |"
    yield "|---|---|---|---|---|---|---|---|"
    for site in report.sites:
        spent = "–" if site.epsilon_spent is None else f"{site.epsilon_spent:.3f}"
        yield (
            f"| {site.name} | {site.records} | {spent} | {site.noise_multiplier:.3f} | "
            f"{site.sample_rate:.4f} | {site.steps} | {in_bytes(site.bytes_up)} | "
            f"{in_bytes(site.bytes_down)} |"
        )


def _with_interval(estimate: Estimate) -> str:
    return f"{estimate.value:.3f} [{estimate.low:.3f}, {estimate.high:.3f}]"
