"""Further questions that a data-protection impact assessment asks of a run, as far as FedLoom knows
the answers."""

from collections.abc import Iterator

from fedloom.server.report.facts import Fact
from fedloom.server.report.schema import Report
from fedloom.shared.words import count

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


def questions(report: Report) -> Iterator[Fact]:
    """Each with its answer, or that FedLoom has none."""
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
    bounded = (
        "its trace is bounded by epsilon" if report.privacy.promises else "nothing bounds its trace"
    )
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


def _updates(report: Report) -> str:
    if report.privacy.mode == "none":
        return "without clipping and without noise"
    if report.privacy.seeded:
        return "clipped, with noise that can be repeated and protects nobody"
    return "clipped and noised"
