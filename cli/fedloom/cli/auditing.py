"""What a suite found, on a terminal."""

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from fedloom.server.evaluator.findings import Evaluation


def say_evaluation(evaluation: "Evaluation") -> None:
    """Every figure of the adapter that may be released, and what could not be measured."""
    from fedloom.server.report.audits import in_digits, in_unit

    click.echo(f"suite {evaluation.suite}, adapter {evaluation.about}; in brackets 95 % intervals")
    for caveat in evaluation.caveats:
        click.echo(f"  {caveat}")
    for audit in evaluation.subject.audits:
        if not audit.applies:
            click.echo(f"  {audit.audit}: does not apply, {audit.why_not}")
            continue
        click.echo(f"  {audit.audit}: {audit.asks}")
        for figure in audit.figures:
            interval = ""
            if figure.low is not None and figure.high is not None:
                low, high = in_digits(figure.low, figure.unit), in_digits(figure.high, figure.unit)
                interval = f"  [{low}, {high}]"
            value = in_unit(figure.value, figure.unit)
            click.echo(f"    {figure.key:<28} {value:>10}{interval}")
