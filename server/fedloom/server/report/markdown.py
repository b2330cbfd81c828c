"""The report in short, for a terminal or a ticket."""

from collections.abc import Iterator

from fedloom.server.report.escaping import plain as _plain
from fedloom.server.report.facts import LedgerFacts, SiteFacts
from fedloom.server.report.headline import Headline, headline, in_bytes, in_percent, in_points
from fedloom.server.report.held_out import WHAT_HELD_OUT_IS
from fedloom.server.report.schema import Arm, Estimate, Report
from fedloom.server.report.sites import WHAT_A_HEAD_IS_FOR, stop_in_words
from fedloom.shared.config.data import JOINT
from fedloom.shared.words import count


def render_markdown(report: Report) -> str:
    """Headline facts, the comparison and the sites; names cannot break out of a cell or line."""
    sections = (_warnings, _stops, _facts, _comparison, _by_site, _held_out, _sites, _omitted)
    blocks = [f"# {_plain(report.name)}", *("\n".join(part(report)) for part in sections)]
    return "\n\n".join(block for block in blocks if block) + "\n"


def _warnings(report: Report) -> Iterator[str]:
    if report.privacy.seeded:
        yield "**SEEDED: NOT PRIVATE.** The noise was repeatable and protects nobody.\n"
    if report.privacy.mode == "none":
        yield "**TRAINED WITHOUT PRIVACY.** No noise was added.\n"
    if report.holdout == "validation":
        yield "Scores are on validation records, for choosing hyperparameters.\n"


def _stops(report: Report) -> Iterator[str]:
    for stop in report.stops:
        yield f"**{_plain(stop_in_words(stop, report.rounds))}.**\n"


def _facts(report: Report) -> Iterator[str]:
    head = headline(report)
    yield f"- promised: {_promise(report)}"
    if report.training.mitigation:
        yield f"- {_plain(report.training.against_bias)}"
    if report.setting == "simulation":
        yield from _measured(report, head)
    yield f"- left each site: at most {in_bytes(head.bytes_up)} in all"
    yield f"- plan `{report.plan_sha256}`"


def _measured(report: Report, head: Headline) -> Iterator[str]:
    yield f"- accuracy of the federation: {in_percent(head.federation)} ({report.holdout} records)"
    if report.privacy.mode != "none":
        yield f"- what privacy cost: {_cost(head)}"
    gain = f"{in_points(head.federating_gain)} over the sites alone"
    bought = "not measured" if head.federating_gain is None else gain
    yield f"- what federating bought: {bought}"


def _cost(head: Headline) -> str:
    if head.privacy_cost is None:
        return "not measured"
    return f"{in_points(-head.privacy_cost)} (without privacy: {in_percent(head.non_private)})"


def _promise(report: Report) -> str:
    privacy = report.privacy
    if privacy.epsilon is None:
        return "nothing; trained without differential privacy"
    terms = _plain(f"{privacy.unit}, {privacy.relation}, accountant {privacy.accountant}")
    planned = f"epsilon {privacy.epsilon:g}, delta {privacy.delta:g} at each site for each {terms}"
    return f"nothing; void as noise was repeatable: {planned}" if privacy.seeded else planned


def _comparison(report: Report) -> Iterator[str]:
    if not report.evaluation:
        return
    yield "| all sites' records | epsilon | accuracy, % | macro-F1, % | loss, nats | ECE, % |"
    yield "|---|---|---|---|---|---|"
    for arm in report.evaluation:
        scores = arm.tests[JOINT]
        percents = [_interval(each) for each in (scores.accuracy, scores.macro_f1, scores.ece)]
        cells = [*percents[:2], _interval(scores.loss, factor=1, digits=3), percents[2]]
        yield _row(arm, cells)
    units = report.evaluation[0].tests[JOINT].units
    if units is not None:
        of = f"{count(units, 'unit')} ({_plain(report.privacy.unit)})"
        yield f"\nIntervals are over {of}, with all records of each."


def _by_site(report: Report) -> Iterator[str]:
    arms = report.evaluation
    tests = [name for name in arms[0].tests if name != JOINT] if arms else []
    if not tests:
        return
    yield f"| accuracy by site, % | epsilon | {' | '.join(map(_plain, tests))} |"
    yield "|---" * (len(tests) + 2) + "|"
    for arm in arms:
        found = (arm.tests.get(name) for name in tests)
        yield _row(arm, [_interval(scores.accuracy) if scores else "–" for scores in found])


def _held_out(report: Report) -> Iterator[str]:
    if not report.held_out:
        return
    yield "| round | sites | held-out accuracy, % |"
    yield "|---|---|---|"
    for point in report.held_out:
        interval = f"[{100 * point.low:.1f}, {100 * point.high:.1f}]"
        value = "hidden by the noise" if point.accuracy is None else f"{100 * point.accuracy:.1f}"
        yield f"| {point.round} | {point.sites} | {value} {interval} |"
    yield f"\n{WHAT_HELD_OUT_IS}"


def _sites(report: Report) -> Iterator[str]:
    if not report.sites:
        return
    yield "| site | epsilon spent | budget left | ledger head |"
    yield "|---|---|---|---|"
    for site in report.sites:
        spent = "–" if site.epsilon_spent is None else f"{site.epsilon_spent:.3f}"
        cells = (_plain(site.name), spent, _left(site), _head(site.ledger_head))
        yield f"| {' | '.join(cells)} |"
    yield f"\n{WHAT_A_HEAD_IS_FOR}"


def _left(site: SiteFacts) -> str:
    if site.epsilon_left is None or site.epsilon_allowed is None:
        return "–"
    return f"{site.epsilon_left:.3f} of {site.epsilon_allowed:.4g}"


def _head(head: LedgerFacts | None) -> str:
    return "–" if head is None else f"entry {head.number}, `{_plain(head.digest[:12])}`"


def _omitted(report: Report) -> Iterator[str]:
    for line in report.omitted:
        yield f"- {_plain(line)}"


def _row(arm: Arm, cells: list[str]) -> str:
    epsilon = "–" if arm.epsilon is None else f"{arm.epsilon:g}"
    return "| " + " | ".join([_plain(arm.name), epsilon, *cells]) + " |"


def _interval(estimate: Estimate | None, *, factor: float = 100, digits: int = 1) -> str:
    if estimate is None:
        return "–"
    value, low, high = (factor * x for x in (estimate.value, estimate.low, estimate.high))
    return f"{value:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"
