"""Checks a release with public keys alone: nothing in it is believed before it is signed for.

Guarantee: where there is no problem, every file of the folder is as the holder of the named key
signed it, there is no other file, and decision, plan, evaluation, report, ledger heads, provenance,
adapter and card are of one run and one adapter. Whether that key is the coordinator's, only who
gave it another way can know. Nothing is unpickled, no link is followed, no path leaves the folder.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from fedloom.server.release.agreement import content_problems
from fedloom.server.release.contents import parse_json
from fedloom.server.release.decision import Decision
from fedloom.server.release.folder import DECISION
from fedloom.server.release.reading import Read, read_flat
from fedloom.server.release.signatures import SignatureFile, sums_digest
from fedloom.server.release.sums import SUMS, SUMS_SIGNATURE, read_sums, sum_problems
from fedloom.shared.errors import FedLoomError, ReleaseError


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What is wrong, one line each; `signer` is the public key that signed, None where nothing
    did; `decision` is None where it cannot be read or trusted."""

    problems: tuple[str, ...]
    signer: str | None
    decision: Decision | None


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
    read = read_flat(folder)
    signer = None
    try:
        signature = _signature(read)
        signer = signature.public_key
        problems = list(_seal_problems(read, signature, coordinator))
        if not problems:
            problems = list(content_problems(read.files, signer, site_keys or {}))
    except FedLoomError as error:
        problems = [str(error)]
    decision = None
    if not problems:
        decision = parse_json(read.files[DECISION], Decision, source=DECISION)
    return Verdict(problems=tuple(problems), signer=signer, decision=decision)


def _signature(read: Read) -> SignatureFile:
    for name in (SUMS, SUMS_SIGNATURE):
        if name in read.problems:
            raise ReleaseError(read.problems[name])
        if name not in read.files:
            raise ReleaseError(f"{name}: missing, expected it in every release")
    found = parse_json(read.files[SUMS_SIGNATURE], SignatureFile, source=SUMS_SIGNATURE)
    if found.to_json() != read.files[SUMS_SIGNATURE]:
        raise ReleaseError(f"{SUMS_SIGNATURE}: not in its one form, expected what FedLoom wrote")
    return found


def _seal_problems(read: Read, signature: SignatureFile, coordinator: str | None) -> Iterator[str]:
    if coordinator is not None and signature.public_key != coordinator:
        yield (
            f"{SUMS_SIGNATURE}: signed by key {signature.public_key}, expected the coordinator's, "
            f"{coordinator}"
        )
        return
    if not signature.covers(sums_digest(read.files[SUMS])):
        yield f"{SUMS}: not what the key {signature.public_key} signed; it or its signature changed"
        return
    rest = {
        name: content for name, content in read.files.items() if name not in (SUMS, SUMS_SIGNATURE)
    }
    yield from read.problems.values()
    sums = read_sums(read.files[SUMS])
    # What could not be read is told already.
    left = {name: digest for name, digest in sums.items() if name not in read.problems}
    yield from sum_problems(left, rest)
