"""Whether the files of a release, once each is known to be whole, say the same thing."""

from collections.abc import Iterator, Mapping
from importlib.metadata import version

from fedloom.server.release.card import CARD, check_card, render_card
from fedloom.server.release.contents import (
    ADAPTER_FILES,
    HEADS,
    Contents,
    disagreements,
    parse_contents,
    parse_json,
)
from fedloom.server.release.decision import Decision, Ruling
from fedloom.server.release.folder import DECISION, DECISION_SIGNATURE, PROVENANCE
from fedloom.server.release.provenance import Provenance
from fedloom.server.release.rules import rulings
from fedloom.server.release.signatures import SignatureFile
from fedloom.server.run.heads import parse_heads
from fedloom.shared.errors import ReleaseError
from fedloom.shared.printable import printable
from fedloom.shared.words import any_of

# How a rule is put into words may change with FedLoom; what came of it may not.
_WORDS = {"words", "note"}
_NAMES = ("adapter", "plan", "terms", "report", "evaluation", "suite", "corpus")


def content_problems(
    files: Mapping[str, bytes], signer: str, site_keys: Mapping[str, str]
) -> Iterator[str]:
    """Each disagreement, in one line.

    Raises:
        FedLoomError: a file is missing or damaged; in one line.
    """
    for name in (DECISION, DECISION_SIGNATURE, PROVENANCE):
        if name not in files:
            raise ReleaseError(f"{name}: missing, expected it in every release")
    decision = parse_json(files[DECISION], Decision, source=DECISION)
    contents = parse_contents(files)
    # Of files that are about different things no decision follows, and of that no card.
    apart = list(disagreements(contents))
    if not apart:
        apart = list(_decision_problems(files, decision, contents, signer))
    yield from apart
    yield from _adapter_problems(files, decision)
    yield from _unlike_site_keys(contents, site_keys)
    provenance = parse_json(files[PROVENANCE], Provenance, source=PROVENANCE)
    if provenance != Provenance.of(contents.report):
        yield f"{PROVENANCE}: says other than the report of the run"
    if CARD in files and not apart:
        yield from _unlike_card(files[CARD], contents, decision)


def content_notes(
    files: Mapping[str, bytes], decision: Decision, site_keys: Mapping[str, str]
) -> Iterator[str]:
    """What could not be checked of files without a problem, in one line each."""
    if CARD in files and decision.fedloom != version("fedloom"):
        yield (
            f"{CARD}: below its front matter not checked: FedLoom {printable(decision.fedloom)} "
            "wrote it, and only that can write it again"
        )
    heads = parse_heads(files[HEADS], source=HEADS)
    unknown = ", ".join(printable(name) for name in heads if name not in site_keys)
    if unknown:
        yield (
            f"{HEADS}: signed by keys that only this folder says are the sites' (--site-key): "
            f"{unknown}"
        )


def _unlike_card(content: bytes, contents: Contents, decision: Decision) -> Iterator[str]:
    check_card(content, contents)
    # How a card is put into words may change with FedLoom.
    same = decision.fedloom == version("fedloom")
    if same and content != render_card(contents, decision):
        yield f"{CARD}: says other than what decision, plan, report and evaluation say"


def _decision_problems(
    files: Mapping[str, bytes], decision: Decision, contents: Contents, signer: str
) -> Iterator[str]:
    signature = parse_json(files[DECISION_SIGNATURE], SignatureFile, source=DECISION_SIGNATURE)
    if signature.public_key != signer or not signature.covers(decision.digest):
        yield f"{DECISION}: not what the key {signer} signed"
    for name in _NAMES:
        key = f"{name}_sha256"
        if getattr(decision.evidence, key) != getattr(contents.evidence, key):
            yield f"{DECISION}: decided on another {name} than this folder's"
    found = rulings(contents.terms, contents.evaluation, contents.report)
    if [_plainly(rule) for rule in found] != [_plainly(rule) for rule in decision.rules]:
        yield f"{DECISION}: its rulings do not follow from terms, evaluation and report"


def _plainly(rule: Ruling) -> dict[str, object]:
    return rule.model_dump(exclude=_WORDS)


def _adapter_problems(files: Mapping[str, bytes], decision: Decision) -> Iterator[str]:
    for name in (*ADAPTER_FILES, CARD):
        if decision.released and name not in files:
            yield f"{name}: missing, expected it where an adapter was released"
        if not decision.released and name in files:
            yield f"{name}: is here, expected no adapter, as it was held"


def _unlike_site_keys(contents: Contents, site_keys: Mapping[str, str]) -> Iterator[str]:
    known = [site.name for site in contents.plan.sites]
    for name, key in site_keys.items():
        if name not in known:
            yield f"no site {name}, expected {any_of(known)}"
            continue
        head = contents.heads.get(name)
        if head is None or head.public_key != key:
            yield f"{HEADS}: {name}: no head signed by the key that was given for it"
