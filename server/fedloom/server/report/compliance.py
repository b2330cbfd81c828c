"""The compliance report: what was promised, done, approved, measured, and what is not covered.

`compliance.json` is this document; the page shows the same. It holds the facts that a
data-protection impact assessment asks for (GDPR, Article 35), as far as FedLoom knows them; what
it cannot know it says, so that nobody takes silence for an answer.
"""

from collections.abc import Iterator
from typing import Literal

from fedloom.server.evaluator.evaluation import Evaluation
from fedloom.server.evaluator.findings import Figure
from fedloom.server.report.assessment import questions
from fedloom.server.report.conduct import approved, done, promised
from fedloom.server.report.facts import Fact, ReportPart
from fedloom.server.report.figures import in_unit
from fedloom.server.report.schema import Report

_RISKS = (
    (
        "canaries.epsilon_lower_bound",
        "by canaries in another run of the same federation, at 95 % confidence, ε is at least",
    ),
    ("membership.auc", "how often membership inference tells members from others (AUC)"),
    ("membership.tpr_at_1_fpr", "members found at one false alarm in a hundred"),
    ("groups.worst_group_gap", "largest gap of accuracy between groups"),
    ("swaps.flip_rate", "labels that change when a person's group is exchanged in the text"),
)

# What a lower bound could have been at most, had every guess been right.
_MOST = {"canaries.epsilon_lower_bound": "canaries.epsilon_most"}


class Compliance(ReportPart):
    """The document."""

    version: Literal[1] = 1
    name: str
    plan_sha256: str
    adapter_sha256: str
    promised: tuple[Fact, ...]
    done: tuple[Fact, ...]
    approved: tuple[Fact, ...]
    measured: tuple[Fact, ...]
    assessment: tuple[Fact, ...]
    not_covered: tuple[str, ...]


def compliance_of(report: Report, evaluation: Evaluation | None) -> Compliance:
    """Put the facts of a run and of its evaluation in the order in which they are asked for."""
    return Compliance(
        name=report.name,
        plan_sha256=report.plan_sha256,
        adapter_sha256=report.adapter_sha256,
        promised=tuple(promised(report)),
        done=tuple(done(report)),
        approved=tuple(approved(report)),
        measured=tuple(_measured(evaluation)),
        assessment=tuple(questions(report)),
        not_covered=tuple(_not_covered(report, evaluation)),
    )


def _measured(evaluation: Evaluation | None) -> Iterator[Fact]:
    if evaluation is None:
        return
    yield Fact(about="records that it was measured on", known=evaluation.records_are)
    for name, words in _RISKS:
        figure = evaluation.figure(name)
        most = evaluation.figure(_MOST.get(name, ""))
        yield Fact(about=words, known=_in_words(figure, most) if figure else "not measured")


def _in_words(figure: Figure, most: Figure | None) -> str:
    beside = []
    if most is not None:
        could = in_unit(most.value, most.unit)
        beside.append(f"so many canaries could have shown {could} at most")
    if figure.low is not None and figure.high is not None:
        low, high = in_unit(figure.low, figure.unit), in_unit(figure.high, figure.unit)
        beside.append(f"95 % interval {low} to {high}")
    if figure.chance is not None:
        beside.append(f"by chance {in_unit(figure.chance, figure.unit)}")
    value = in_unit(figure.value, figure.unit)
    return f"{value} ({'; '.join(beside)})" if beside else value


def _not_covered(report: Report, evaluation: Evaluation | None) -> Iterator[str]:
    yield (
        "A person with records at several sites: each site's guarantee holds alone, and they are "
        "not summed."
    )
    yield (
        "Proof by measurement: an attack that finds little does not show that none would. Only "
        "epsilon bounds all attacks; an audit can contradict it and never confirm it."
    )
    yield (
        "What was measured on records, held out or trained on, here and in an evaluation: no "
        "epsilon covers these figures, nor the digest of those records, by which whoever knows all "
        "of them but one can confirm a guess at that one."
    )
    yield "The base model: what it had learned before, and from whom, is not examined."
    if evaluation is None:
        yield "Bias, calibration and memory: no suite of audits was run."
        return
    yield (
        "People and places that the suite does not know: its word lists are English and short, "
        "and a mention in a text is not a person's group."
    )
    for findings in evaluation.subject.audits:
        if not findings.measured:
            yield f"{findings.title}: {findings.state}, {findings.why_not}."
