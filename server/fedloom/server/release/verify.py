"""Checks a release with public keys alone: nothing in it is believed before it is signed for.

Guarantee: where there is no problem, every file of the folder is as the holder of the named key
signed it, there is no other file, and decision, plan, evaluation, report, ledger heads, provenance,
adapter and card are of one run and one adapter. Whether that key is the coordinator's, only who
gave it another way can know, and so for the keys of the ledgers' heads. Before the signature holds,
nothing but the list of files is read, and after it only what FedLoom writes and the list names;
nothing is unpickled, no link is followed, no path leaves the folder.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from fedloom.server.release.agreement import content_notes, content_problems
from fedloom.server.release.card import CARD
from fedloom.server.release.contents import (
    ADAPTER_FILES,
    EVALUATION,
    HEADS,
    PLAN,
    REPORT,
    TERMS,
    parse_json,
)
from fedloom.server.release.decision import Decision
from fedloom.server.release.folder import DECISION, DECISION_SIGNATURE, PROVENANCE
from fedloom.server.release.reading import Read, names_in, read_files
from fedloom.server.release.signatures import SignatureFile, sums_digest
from fedloom.server.release.sums import SUMS, SUMS_SIGNATURE, read_sums, sum_problems
from fedloom.shared.errors import FedLoomError, ReleaseError
from fedloom.shared.printable import printable

_SEAL = (SUMS, SUMS_SIGNATURE)
_WRITTEN = frozenset(
    (*ADAPTER_FILES, CARD, PLAN, TERMS, REPORT, EVALUATION, HEADS, PROVENANCE)
).union((DECISION, DECISION_SIGNATURE))


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What is wrong, one line each; `signer` is the public key that signed, None where nothing
    did; `decision` is None where it cannot be read or trusted. `notes` say what was not checked,
    though nothing is wrong."""

    problems: tuple[str, ...]
    signer: str | None
    decision: Decision | None
    notes: tuple[str, ...] = ()


def verify_release(
    folder: Path,
    *,
    coordinator: str | None = None,
    site_keys: Mapping[str, str] | None = None,
) -> Verdict:
    """Check a release, or the record of one that was held.

    `coordinator` is the coordinator's public key in hex, `site_keys` the keys that sites sign
    their ledgers with; both as their owners told them.

    Raises:
        ReleaseError: there is no such folder.
    """
    there, known = names_in(folder), site_keys or {}
    signer = None
    try:
        seal = read_files(folder, there & set(_SEAL))
        signature = _signature(seal)
        signer = signature.public_key
        problems = list(_seal_problems(seal, signature, coordinator))
        if problems:
            return Verdict(problems=tuple(problems), signer=signer, decision=None)
        files, problems = _listed(folder, there, read_sums(seal.files[SUMS]))
        if not problems:
            problems = list(content_problems(files, signer, known))
    except FedLoomError as error:
        problems = [str(error)]
    if problems:
        return Verdict(problems=tuple(problems), signer=signer, decision=None)
    decision = parse_json(files[DECISION], Decision, source=DECISION)
    notes = tuple(content_notes(files, decision, known))
    return Verdict(problems=(), signer=signer, decision=decision, notes=notes)


def _signature(seal: Read) -> SignatureFile:
    for name in _SEAL:
        if name in seal.problems:
            raise ReleaseError(seal.problems[name])
        if name not in seal.files:
            raise ReleaseError(f"{name}: missing, expected it in every release")
    found = parse_json(seal.files[SUMS_SIGNATURE], SignatureFile, source=SUMS_SIGNATURE)
    if found.to_json() != seal.files[SUMS_SIGNATURE]:
        raise ReleaseError(f"{SUMS_SIGNATURE}: not in its one form, expected what FedLoom wrote")
    return found


def _seal_problems(seal: Read, signature: SignatureFile, coordinator: str | None) -> Iterator[str]:
    if coordinator is not None and signature.public_key != coordinator:
        yield (
            f"{SUMS_SIGNATURE}: signed by key {signature.public_key}, expected the coordinator's, "
            f"{coordinator}"
        )
    elif not signature.covers(sums_digest(seal.files[SUMS])):
        yield f"{SUMS}: not what the key {signature.public_key} signed; it or its signature changed"


def _listed(
    folder: Path, there: frozenset[str], sums: Mapping[str, str]
) -> tuple[dict[str, bytes], list[str]]:
    """The files that are listed, and what is wrong with them or with others."""
    for name in sorted(sums.keys() - _WRITTEN):
        raise ReleaseError(f"{SUMS}: names {name}, expected files that FedLoom writes alone")
    read = read_files(folder, there & sums.keys())
    # What could not be read is told already.
    left = {name: digest for name, digest in sums.items() if name not in read.problems}
    extra = (
        f"{printable(name)}: not of this release, expected the files that {SUMS} names"
        for name in sorted(there - sums.keys() - set(_SEAL))
    )
    return read.files, [*read.problems.values(), *sum_problems(left, read.files), *extra]
