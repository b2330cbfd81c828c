"""What a privacy audit was asked, kept in its run folder: a resume goes on with just that."""

import hashlib
import json
from dataclasses import asdict
from pathlib import Path

import tomli_w

from fedloom.server.run.folder import RunFolder
from fedloom.shared.config.reading import read_toml
from fedloom.shared.config.values import Section
from fedloom.shared.errors import EvaluationError, RunFolderError
from fedloom.shared.wire.messages import Digest
from fedloom.simulation.auditing.canaries import Dealt
from fedloom.simulation.federation import RunOptions

_HEADING = "# What this privacy audit was asked; --resume goes on with it.\n"


class PrivacyAuditOptions(Section):
    """`canaries` at `site`, or dealt out to all sites in turn; texts and coins from `seed`.

    `shadows` is how many runs are trained beside the audited one for LiRA: none, or two and more.
    `beside` is a finished run whose evaluation is to get the findings; it changes none of them.
    """

    canaries: int = 1000
    site: str | None = None
    shadows: int = 0
    seed: int = 0
    beside: Path | None = None


class _Kept(PrivacyAuditOptions):
    dealt_sha256: Digest


def options_before(run: RunFolder) -> PrivacyAuditOptions:
    """What an audit to be resumed was asked.

    Raises:
        RunFolderError: the folder holds no audit.
        ConfigError: the file is damaged.
    """
    return PrivacyAuditOptions(**_kept(run).model_dump(exclude={"dealt_sha256"}))


def check_options(run: RunFolder, options: PrivacyAuditOptions) -> None:
    """Make sure that nothing is asked of a resumed audit but what was asked of it before.

    Raises:
        EvaluationError: an option that changes what is found is another.
        RunFolderError, ConfigError: as `options_before`.
    """
    before = options_before(run)
    for name in ("canaries", "site", "shadows", "seed"):
        old, new = (getattr(one, name) for one in (before, options))
        if old != new:
            raise EvaluationError(
                f"privacy audit {run.path}: began with {name} {_said(old)}, got {_said(new)}, "
                "expected the same"
            )


def run_options(
    run: RunFolder, options: PrivacyAuditOptions, dealt: Dealt, *, resume: bool
) -> RunOptions:
    """How the audited run is carried out: what is asked is kept when it begins, and when it goes
    on, canaries and coins are those that were planted.

    Raises:
        EvaluationError: they follow from another split, task or vocabulary, or from other groups.
        RunFolderError, ConfigError: as `options_before`.
    """
    if not resume:
        return RunOptions(asked={_file(run): _text(options, dealt)})
    if _kept(run).dealt_sha256 != sha256_of(dealt):
        raise EvaluationError(
            f"privacy audit {run.path}: other canaries than those that were planted, expected the "
            "same config, model and records"
        )
    return RunOptions(resume=True)


def _file(run: RunFolder) -> Path:
    return run.path / "audit.toml"


def _text(options: PrivacyAuditOptions, dealt: Dealt) -> str:
    told = options.model_dump(mode="json", exclude_none=True)
    return _HEADING + tomli_w.dumps(told | {"dealt_sha256": sha256_of(dealt)})


def _kept(run: RunFolder) -> _Kept:
    path = _file(run)
    if not path.is_file():
        raise RunFolderError(
            f"run folder {run.path}: no {path.name}, expected a privacy audit to resume"
        )
    return read_toml(path, _Kept, expected="what a privacy audit was asked")


def sha256_of(dealt: Dealt) -> str:
    """Digest of canaries, homes and coins."""
    plain = [[asdict(canary) for canary in dealt.canaries], dealt.homes, dealt.inside.tolist()]
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()


def _said(value: object) -> object:
    return "of all sites" if value is None else value
