"""What a suite found, on a terminal."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from fedloom.shared.printable import printable
from fedloom.shared.words import count

if TYPE_CHECKING:
    from fedloom.server.evaluator.evaluation import Comparison, Evaluation
    from fedloom.server.evaluator.findings import Figure

# A screen holds no more; all of them are in evaluation.json and on the page.
_DIFFERENCES = 10
_CERTAIN = 0.05


def say_evaluation(evaluation: "Evaluation") -> None:
    """Every figure of the adapter that may be released, what could not be measured, and what
    tells it from others."""
    about = printable(evaluation.about)
    click.echo(f"suite {evaluation.suite}, adapter {about}; in brackets 95 % intervals")
    click.echo(f"records: {evaluation.records_are}")
    for caveat in evaluation.caveats:
        click.echo(f"  {printable(caveat)}")
    for audit in evaluation.subject.audits:
        if not audit.measured:
            click.echo(f"  {audit.audit}: {audit.state}, {printable(audit.why_not)}")
            continue
        click.echo(f"  {audit.audit}: {audit.asks}")
        for figure in audit.figures:
            click.echo(f"    {figure.key:<28} {_said(figure)}")
    for line in _differences(evaluation):
        click.echo(line)


def _said(figure: "Figure") -> str:
    from fedloom.server.report.figures import in_digits, in_unit

    interval = chance = ""
    if figure.low is not None and figure.high is not None:
        low, high = in_digits(figure.low, figure.unit), in_digits(figure.high, figure.unit)
        interval = f"  [{low}, {high}]"
    if figure.chance is not None:
        chance = f"  by chance {in_unit(figure.chance, figure.unit)}"
    return f"{in_unit(figure.value, figure.unit):>12}{interval:<18}{chance}".rstrip()


def _differences(evaluation: "Evaluation") -> Iterator[str]:
    """For each other adapter, the figures that differ from its, the surest first."""
    for other in dict.fromkeys(found.against for found in evaluation.comparisons):
        compared = [found for found in evaluation.comparisons if found.against == other]
        certain = sorted(filter(_differs, compared), key=_doubt)
        said = f"{count(len(compared), 'figure')} compared in pairs with {printable(other)}"
        if not certain:
            yield f"of {said}, none differs beyond chance"
            continue
        dealt = f"{_CERTAIN * len(compared):.1g}"
        yield f"of {said}, {len(certain)} differ; about {dealt} would by chance"
        yield from _listed(evaluation, certain)


def _listed(evaluation: "Evaluation", certain: "list[Comparison]") -> Iterator[str]:
    from fedloom.server.report.figures import difference_in_words, p_in_words

    for found in certain[:_DIFFERENCES]:
        name = f"{found.audit}.{found.key}"
        figure = evaluation.figure(name)
        difference = difference_in_words(found, figure.unit if figure else "score")
        yield f"  {name:<38} {difference}, {p_in_words(found.p_value)}"
    left = len(certain) - _DIFFERENCES
    if left > 0:
        yield f"  and {left} more, in evaluation.json and on the page"


def _differs(found: "Comparison") -> bool:
    """Both the test and the interval say so."""
    return found.p_value < _CERTAIN and not found.low <= 0 <= found.high


def _doubt(found: "Comparison") -> tuple[float, float]:
    """Small for differences that are sure: by p-value, and where it can be no smaller, by how
    many widths of its interval one is away from nothing."""
    width = found.high - found.low
    return found.p_value, -abs(found.difference) / width if width else -float("inf")
