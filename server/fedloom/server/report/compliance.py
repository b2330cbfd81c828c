"""The compliance report: what was promised, done, approved, measured, and what is not covered.

`compliance.json` is this document; the page shows the same. It holds the facts that a
data-protection impact assessment asks for (GDPR, Article 35), as far as FedLoom knows them; what
it cannot know it says, so that nobody takes silence for an answer.
"""

from collections.abc import Iterator
from math import exp
from typing import Literal

from fedloom.server.evaluator.findings import Evaluation
from fedloom.server.report.audits import in_unit
from fedloom.server.report.headline import in_bytes
from fedloom.server.report.schema import Report, ReportPart
from fedloom.shared.words import count

_RISKS = (
    (
        "canaries.epsilon_lower_bound",
        "by canaries in another run of the same federation, at 95 % confidence, ε is at least",
    ),
    ("membership.auc", "membership inference tells members from others (0.5 is chance), AUC"),
    ("membership.tpr_at_1_fpr", "members found at one false alarm in a hundred"),
    ("groups.worst_group_gap", "largest gap of accuracy between groups"),
    ("swaps.flip_rate", "labels that change when a person's group is exchanged in the text"),
)


class Fact(ReportPart):
    """One question, and what is known of it."""

    about: str
    known: str


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
        promised=tuple(_promised(report)),
        done=tuple(_done(report)),
        approved=tuple(_approved(report)),
        measured=tuple(_measured(evaluation)),
        assessment=tuple(_assessment(report)),
        not_covered=tuple(_not_covered(report, evaluation)),
    )


def _promised(report: Report) -> Iterator[Fact]:
    privacy = report.privacy
    if privacy.epsilon is None or not _promises(report):
        why = "noise was repeatable" if privacy.seeded else "trained without differential privacy"
        yield Fact(about="differential privacy", known=f"none; {why}")
        return
    yield Fact(
        about="differential privacy",
        known=f"epsilon {privacy.epsilon:g}, delta {privacy.delta:g} for each {privacy.unit} of "
        f"each site, over the whole run; neighbours by {privacy.relation}, accountant "
        f"{privacy.accountant}",
    )
    if privacy.epsilon <= 20:
        yield Fact(
            about="what that means",
            known="no outcome becomes more than "
            f"{exp(privacy.epsilon):,.0f} times as likely because one {privacy.unit} was there, "
            f"but for a chance of {privacy.delta:g}",
        )


def _done(report: Report) -> Iterator[Fact]:
    for site in report.sites:
        epsilon = site.epsilon_spent
        spent = "no epsilon" if epsilon is None else f"epsilon {epsilon:.3f} spent"
        units = count(site.records, "privacy unit")
        yield Fact(
            about=f"site {site.name}",
            known=f"{units} declared, {spent}, {in_bytes(site.bytes_up)} sent",
        )
    left_out = sum(1 for entry in report.rounds for site in entry.sites if site.fault)
    ended = f"{len(report.rounds)} of {report.training.rounds}"
    yield Fact(about="rounds", known=f"{ended}; {count(left_out, 'answer')} left out")


def _approved(report: Report) -> Iterator[Fact]:
    for site in report.sites:
        took = sum(
            1
            for entry in report.rounds
            for of in entry.sites
            if of.site == site.name and of.fault is None
        )
        known = f"{_BY[report.setting]} in {count(took, 'round')}"
        yield Fact(about=f"site {site.name}", known=known)
    yield Fact(
        about="by a person",
        known="whether a steward approved the plan, or the site's policy alone, is in the site's "
        "own log and not told to the coordinator",
    )
    for stop in report.stops:
        yield Fact(
            about=f"site {stop.site}", known=f"refused from round {stop.round} on, rule {stop.rule}"
        )


_BY = {
    "simulation": "its policy, written by whoever ran the simulation, allowed the plan",
    "deployment": "its policy allowed the plan, and its key signed its answers to it,",
}


def _measured(evaluation: Evaluation | None) -> Iterator[Fact]:
    for name, words in _RISKS if evaluation else ():
        figure = evaluation.figure(name) if evaluation else None
        if figure is None:
            yield Fact(about=words, known="not measured")
            continue
        interval = ""
        if figure.low is not None and figure.high is not None:
            low, high = in_unit(figure.low, figure.unit), in_unit(figure.high, figure.unit)
            interval = f" (95 % interval {low} to {high})"
        yield Fact(about=words, known=f"{in_unit(figure.value, figure.unit)}{interval}")


def _assessment(report: Report) -> Iterator[Fact]:
    labels = ", ".join(report.task.labels) or "answers in free text"
    yield Fact(
        about="purpose and means",
        known=f"fine-tune {report.model.name} for {report.task.kind} ({labels}) with "
        f"{count(report.model.trained_parameters, 'trained number')}",
    )
    yield Fact(about="who holds the records", known=_HOLDERS[report.setting])
    yield Fact(
        about="whose data, and how much",
        known="; ".join(f"{site.name}: {site.records:,}" for site in report.sites)
        + f" units ({report.privacy.unit}), as declared; what they are about is not known to "
        "FedLoom and is the sites' to describe",
    )
    yield Fact(
        about="what leaves a site",
        known=f"adapter updates, {_updates(report)}; its declared size; the name of a rule when it "
        "refuses; its ledger's head"
        + ("; noised counts of held-out units" if report.held_out else ""),
    )
    yield Fact(about="safeguards at the site", known=_SAFEGUARDS[report.setting])
    bounded = "its trace is bounded by epsilon" if _promises(report) else "nothing bounds its trace"
    yield Fact(
        about="storage and erasure",
        known="a site keeps its records, its ledger and its sealed updates; the coordinator keeps "
        "checkpoints. A record that is deleted at its site is not trained on again; what an "
        f"adapter has learned is not taken out, {bounded}",
    )
    yield Fact(
        about="lawful basis, necessity, consultation",
        known="not known to FedLoom; each controller has to state it",
    )


def _promises(report: Report) -> bool:
    return report.privacy.epsilon is not None and not report.privacy.seeded


def _updates(report: Report) -> str:
    if report.privacy.mode == "none":
        return "without clipping and without noise"
    if report.privacy.seeded:
        return "clipped, with noise that can be repeated and protects nobody"
    return "clipped and noised"


_SAFEGUARDS = {
    "simulation": "a simulation has none that count: one person held the records, the policies "
    "and the keys",
    "deployment": "its own policy and signed ledger, charged before any record is read; the "
    "trainer is a process of the site's own; no download at run time",
}
_HOLDERS = {
    "simulation": "whoever ran this simulation held the records of all sites",
    "deployment": "each site its own, on its own machines; the coordinator has seen none",
}


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
        "epsilon covers these figures."
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
        if not findings.applies:
            yield f"{findings.title}: {findings.why_not}."
