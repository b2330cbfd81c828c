"""Writes a release: the adapter with its card, plan, decision, provenance, sums and signatures.

Guarantee: the folder is there whole or not at all; every file in it is covered by SHA256SUMS and
that by the coordinator's signature; an adapter that was held is in none.
"""

import os
import secrets
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fedloom.server.deploy.home import ServerHome
from fedloom.server.release.card import CARD, render_card
from fedloom.server.release.contents import ADAPTER_FILES, REPORT, Contents, parse_json
from fedloom.server.release.decision import Decision, Override
from fedloom.server.release.gate import decide
from fedloom.server.release.provenance import Provenance
from fedloom.server.release.run_files import checked_contents, run_files
from fedloom.server.release.signatures import SignatureFile, sums_digest
from fedloom.server.release.sums import SUMS, SUMS_SIGNATURE, write_sums
from fedloom.server.report.schema import Report
from fedloom.server.run.folder import RunFolder
from fedloom.shared.errors import ReleaseError
from fedloom.shared.files import sync_folder, write_durably
from fedloom.shared.keys import SigningKey, read_key

DECISION, DECISION_SIGNATURE, PROVENANCE = "decision.json", "decision.json.sig", "provenance.json"
_KEY, RELEASE = "coordinator.key", "release"


@dataclass(frozen=True, kw_only=True)
class Written:
    """A folder that was written, and the decision in it."""

    folder: Path
    decision: Decision


def decide_run(
    run: RunFolder, *, overrides: Sequence[Override] = (), evaluation: Path | None = None
) -> Decision:
    """What `write_release` would decide, without writing anything.

    Raises:
        ReleaseError: the run is not at its end, its files do not agree, or an override is wrong.
        PlanError, ConfigError, CheckpointError: a file of the run is damaged.
    """
    return _decided(checked_contents(run_files(run, evaluation), run), overrides)


def write_release(
    run: RunFolder,
    key: SigningKey,
    *,
    out: Path | None = None,
    overrides: Sequence[Override] = (),
    evaluation: Path | None = None,
) -> Written:
    """Decide, and write what came of it: into `out`, or beside the run's files as `release`, or
    as `held-` and the time.

    Raises:
        ReleaseError: as `decide_run`, or there is something in the folder's place.
        PlanError, ConfigError, CheckpointError: a file of the run is damaged.
    """
    files = run_files(run, evaluation)
    contents = checked_contents(files, run)
    decision = _decided(contents, overrides)
    target = out or run.path / _folder_name(decision)
    if target.exists() or target.is_symlink():
        raise ReleaseError(f"{target}: exists already, expected a new folder (--out)")
    if decision.released:
        files[CARD] = render_card(contents, decision)
    else:
        files = {name: files[name] for name in files if name not in ADAPTER_FILES}
    _write_folder(target, _signed(files, contents, decision, key))
    return Written(folder=target, decision=decision)


def coordinator_key(run: RunFolder, named: Path | None = None) -> SigningKey:
    """The key that signs: the one in the file `named`, else in a deployment the server's, and in
    a simulation one beside the run, made when it is first needed.

    Raises:
        CredentialError: the key is not there, readable by others, or none.
        ReleaseError: the run is not at its end.
    """
    if named is not None:
        return read_key(named)
    if not run.report_json.is_file():
        raise ReleaseError(f"{run.path}: no report.json, expected a run that came to its end")
    report = parse_json(run.report_json.read_bytes(), Report, source=REPORT)
    if report.setting == "deployment":
        return ServerHome(run.path.resolve().parent.parent).coordinator()
    path = run.path / _KEY
    if not path.exists():
        SigningKey.generate().keep(path)
    return read_key(path)


def _decided(contents: Contents, overrides: Sequence[Override]) -> Decision:
    return decide(
        contents.terms,
        contents.evaluation,
        contents.report,
        evidence=contents.evidence,
        overrides=overrides,
    )


def _folder_name(decision: Decision) -> str:
    when = decision.decided.replace(":", "").replace("-", "")
    return RELEASE if decision.released else f"held-{when}"


def _signed(
    files: dict[str, bytes], contents: Contents, decision: Decision, key: SigningKey
) -> dict[str, bytes]:
    covered = files | {
        PROVENANCE: Provenance.of(contents.report).to_json(),
        DECISION: decision.to_json(),
        DECISION_SIGNATURE: SignatureFile.of(decision.digest, key).to_json(),
    }
    sums = write_sums(covered)
    signature = SignatureFile.of(sums_digest(sums), key).to_json()
    return covered | {SUMS: sums, SUMS_SIGNATURE: signature}


def _write_folder(target: Path, files: dict[str, bytes]) -> None:
    draft = target.with_name(f".{target.name}.{secrets.token_hex(8)}.draft")
    draft.mkdir(parents=True)
    try:
        for name, content in files.items():
            write_durably(draft / name, content)
        os.rename(draft, target)  # noqa: PTH104
    except OSError:
        shutil.rmtree(draft, ignore_errors=True)
        raise
    sync_folder(target.parent)
