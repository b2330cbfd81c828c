"""The model card's text: what the adapter is for, came from, promises, and does not."""

from collections.abc import Iterator

from fedloom.server.release.card_audits import audits_text, number
from fedloom.server.release.contents import Contents
from fedloom.server.release.decision import Decision, Ruling
from fedloom.server.release.privacy_rules import MEASURED_EPSILON
from fedloom.server.report.escaping import plain
from fedloom.server.report.facts import SiteFacts
from fedloom.shared.model.card import base_in_words, privacy_in_words
from fedloom.shared.model.usage import how_to_use

_SIMULATED = (
    "A simulation: one person held the records of all sites, and sizes that the federation did not "
    "declare are counted.\n"
)
_NOT_COVERED = (
    "What sites' records hold: FedLoom moved none of them, and has the sites' word alone for what "
    "they are, and for having had them lawfully.",
    "A site's records against the site itself, which has them.",
    "A person with records at several sites, or under several names of the privacy unit: what was "
    "promised for each adds up.",
    "What the base model remembers of its own training, and what was decided by looking at records "
    "outside this run.",
    "Uses, and groups of people, that no audit here asked about: what has no figure was not "
    "measured.",
)
_UNCOVERED = (
    "No epsilon covers what else is in this folder: the evaluation's figures, which were measured "
    "in the clear on the records that the audits ran on, training records among them where one "
    "asks who was trained on; a digest of those records, by which whoever knows all of them but "
    "one can confirm a guess at that one; thresholds reached or missed, which follow from the "
    "figures; how many units each site has, and in which rounds it took part."
)
_VERIFY = (
    "`fedloom verify FOLDER --coordinator KEY` checks every file of this folder with the "
    "coordinator's public key, which you should have by another way. `decision.json` says by which "
    "rules it was released, `provenance.json` what it came from, `heads.json` where the sites' "
    "ledgers stood."
)


def card_text(contents: Contents, decision: Decision) -> str:
    """Markdown without front matter; names cannot break out of a cell or line."""
    plan = contents.plan
    parts = [
        f"# {plain(plan.name)}\n\n" + "\n".join(_first(contents, decision)),
        "## Intended use\n\n" + "\n\n".join(_use(contents)),
        "## Data\n\n" + "\n".join(_data(contents)),
        "## Privacy\n\n" + "\n".join(_privacy(contents, decision)),
        "## Evaluation\n\n" + audits_text(contents, heading="evaluation"),
        "## Bias\n\n" + audits_text(contents, heading="bias"),
        "## Privacy audit\n\n" + audits_text(contents, heading="privacy"),
        "## Release decision\n\n" + "\n".join(_ruled(decision)),
        "## Limits\n\n" + "\n".join(_limits(contents)),
        "## What is not covered\n\n" + "\n".join(f"- {line}" for line in _NOT_COVERED),
        f"## Verify\n\n{_VERIFY}",
        how_to_use(plan.task, plan.model.quantization),
    ]
    return "\n\n".join(part.strip("\n") for part in parts) + "\n"


def _first(contents: Contents, decision: Decision) -> Iterator[str]:
    plan = contents.plan
    labels = ", ".join(map(plain, plan.task.labels)) or "none, free text"
    yield f"- a LoRA adapter of rank {plan.lora.rank} for {plain(plan.model.described)}, by FedLoom"
    yield f"- task: {plan.task.kind}, labels: {labels}"
    yield f"- adapter `{decision.evidence.adapter_sha256}`"
    yield f"- base model: {plain(base_in_words(plan.model.name, plan.model.sha256))}"
    yield f"- plan `{plan.sha256}`"
    if contents.evaluation is not None:
        suite, corpus = decision.evidence.suite_sha256, decision.evidence.corpus_sha256
        records = "records of which the evaluation says no digest"
        records = f"records `{corpus}`" if corpus else records
        yield f"- measured by suite `{suite}` on {records}"
        yield f"- these records were {contents.evaluation.records_are}"
    for ruling, word in decision.overridden:
        yield (
            f"- **OVERRIDDEN**: rule {plain(ruling.name)} came out {ruling.outcome}; "
            f"{plain(word.by)} overrode it on {word.at}: {plain(word.reason)}"
        )


def _use(contents: Contents) -> Iterator[str]:
    terms = contents.terms
    unsaid = "The federation did not say what this adapter is for. Whoever uses it decides alone."
    yield plain(terms.intended_use) if terms.intended_use else unsaid
    licence = plain(terms.licence) if terms.licence else "none was stated, so nobody may reuse it"
    yield f"Licence: {licence}. Contact: {plain(terms.contact) if terms.contact else 'not stated'}."


def _data(contents: Contents) -> Iterator[str]:
    simulated = contents.report.setting == "simulation"
    yield _SIMULATED if simulated else "As each site declared it; its records never left it.\n"
    yield f"| site | units ({plain(contents.plan.privacy.unit)}) | rounds that counted |"
    yield "|---|---|---|"
    rounds = contents.report.rounds
    for site in contents.report.sites:
        took = [each for entry in rounds for each in entry.sites if each.site == site.name]
        counted = sum(each.fault is None for each in took)
        yield f"| {plain(site.name)} | {site.records} | {counted} of {len(rounds)} |"
    yield f"\n{plain(contents.report.training.against_bias)}."


def _privacy(contents: Contents, decision: Decision) -> Iterator[str]:
    privacy = contents.plan.privacy
    yield f"Promised: {plain(privacy_in_words(contents.plan))}.\n"
    yield from _contradictions(decision)
    if not privacy.protects:
        yield "**Nothing bounds what this adapter tells of its training records.**"
        return
    yield (
        f"Adding or removing one {plain(privacy.unit)} of a site changes the probability of the "
        "updates that the site sent, and so of this adapter, by a factor of at most e to that "
        f"epsilon, but for delta. Clipped to {privacy.clip_norm:g}; noise drawn by each site from "
        "its system's random source.\n"
    )
    yield f"{_UNCOVERED}\n"
    yield "| site | epsilon of this plan | spent in all, by its ledger | allowed by the site |"
    yield "|---|---|---|---|"
    for site in contents.report.sites:
        planned = contents.plan.site(site.name).epsilon
        yield f"| {plain(site.name)} | {number(planned)} | {_spent(site)} |"


def _contradictions(decision: Decision) -> Iterator[str]:
    for ruling, word in decision.overridden:
        if ruling.name.startswith(MEASURED_EPSILON):
            yield (
                f"**A measurement contradicts this promise**: an audit bounded epsilon from below "
                f"by {number(ruling.value)}, above the {number(ruling.at_most)} claimed (rule "
                f"{plain(ruling.name)}). {plain(word.by)} released the adapter all the same.\n"
            )


def _spent(site: SiteFacts) -> str:
    return f"{number(site.epsilon_spent)} | {number(site.epsilon_allowed)}"


def _ruled(decision: Decision) -> Iterator[str]:
    yield "| rule | threshold | measured | on | outcome |"
    yield "|---|---|---|---|---|"
    for ruling in decision.rules:
        of = "–" if ruling.records is None else str(ruling.records)
        threshold = ruling.threshold or "–"
        cells = (plain(ruling.name), threshold, _measured(ruling), of, _outcome(ruling))
        yield f"| {' | '.join(cells)} |"


def _measured(ruling: Ruling) -> str:
    if ruling.value is None:
        return "–"
    known = ruling.low is not None and ruling.high is not None
    interval = f" [{number(ruling.low)}, {number(ruling.high)}]" if known else ""
    return f"{number(ruling.value)}{interval}"


def _outcome(ruling: Ruling) -> str:
    return f"{ruling.outcome}: {plain(ruling.note)}" if ruling.note else ruling.outcome


def _limits(contents: Contents) -> Iterator[str]:
    yield f"- Texts longer than {contents.plan.model.max_length} tokens are cut."
    if contents.evaluation is None:
        yield "- No suite of audits was run on this adapter."
    else:
        yield "- Figures hold for records like those they were measured on, and no others."
    for stop in contents.report.stops:
        yield f"- {plain(stop.site)} refused in round {stop.round} by its rule {plain(stop.rule)}."
