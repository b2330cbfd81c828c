"""What a run promised, what it did, and by whom that was approved: for its compliance report."""

from collections.abc import Iterator
from math import exp

from fedloom.server.report.facts import Fact
from fedloom.server.report.headline import in_bytes
from fedloom.server.report.schema import Report
from fedloom.shared.words import count

_BY = {
    "simulation": "its policy, written by whoever ran the simulation, allowed the plan",
    "deployment": "its policy allowed the plan, and its key signed its answers to it,",
}


def promised(report: Report) -> Iterator[Fact]:
    """To each privacy unit of each site."""
    privacy = report.privacy
    if privacy.epsilon is None or not privacy.promises:
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


def done(report: Report) -> Iterator[Fact]:
    """At each site, over all rounds, and against bias."""
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
    yield Fact(about="mitigation of bias", known=f"{report.training.against_bias}.")


def approved(report: Report) -> Iterator[Fact]:
    """By each site, round by round; and where one refused."""
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
