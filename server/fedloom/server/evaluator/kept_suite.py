"""The suite that a run began with. It is kept in the run's folder, as the release's terms are: what
a run is judged by does not change while it trains.

Guarantee: a kept suite that reads is the one that was kept, whole, files that its audits name
included, or else `read_kept` raises. The records of `[records]` are those that they were, or else
`check_records` raises: a simulation, which has its own, does not ask for them.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

import tomli_w

from fedloom.server.evaluator.audits.suite_file import WHOLE_PATHS
from fedloom.server.evaluator.suite import Suite, SuiteDocument, read_suite, suite_of
from fedloom.server.run.folder import RunFolder
from fedloom.shared.config.reading import read_toml
from fedloom.shared.errors import ConfigError
from fedloom.shared.files import sha256_file
from fedloom.shared.wire.messages import Digest

_HEADING = "# The suite of audits that this run began with; no other file counts for it.\n"


class _Kept(SuiteDocument):
    """`sha256` covers all the rest, and the content of each file that an audit names."""

    sha256: Digest
    records_sha256: Digest | None = None


def kept_text(suite: Suite) -> str:
    """The suite as a file that means the same in any folder, and after defaults have changed."""
    records = suite.records
    document = {
        "records_sha256": None if records is None else _content(records.path),
        "suite": {
            "name": suite.name,
            "batch_size": suite.batch_size,
            "not_compared": sorted(suite.not_compared),
        },
        "records": None if records is None else records.model_dump(mode="json", exclude_none=True),
        "audits": {
            name: options.model_dump(mode="json", exclude_none=True, context=dict(WHOLE_PATHS))
            for name, options in suite.options.items()
        },
    }
    plain = {key: value for key, value in document.items() if value is not None}
    return _HEADING + tomli_w.dumps({"sha256": _digest(plain, suite), **plain})


def read_kept(run: RunFolder) -> Suite | None:
    """The suite that a run began with; None if it began without one.

    Raises:
        ConfigError: the file is damaged, or it or a file that it names has changed since.
    """
    if not run.suite.is_file():
        return None
    document = _read(run)
    suite = suite_of(document, run.suite)
    plain = document.model_dump(mode="json", exclude_none=True, exclude={"sha256"})
    if _digest(plain, suite) != document.sha256:
        problem = (
            "it, or a file that it names, has changed since the run began, expected it as it was"
        )
        raise ConfigError(str(run.suite), [problem])
    return suite


def check_records(run: RunFolder) -> None:
    """Make sure that the records that a kept suite names are those of when the run began: to be
    called once they were read, so that no others were.

    Raises:
        ConfigError: the file's content is another, or the suite is damaged.
    """
    document = _read(run)
    if document.records is None or _content(document.records.path) == document.records_sha256:
        return
    problem = (
        f"records.path: {document.records.path} has changed since the run began, expected the "
        "same records"
    )
    raise ConfigError(str(run.suite), [problem])


def unlike_kept(run: RunFolder, path: Path | None) -> str | None:
    """One line if the suite that is asked for now, in the file `path`, is not the one that the run
    began with; None if it is."""
    if path is None:
        return f"no suite is asked for now: {_counts(run)}" if run.suite.is_file() else None
    if not run.suite.is_file():
        return f"suite {path}: does not count, this run began without one"
    try:
        now = kept_text(read_suite(path))
    except ConfigError:
        return f"suite {path}: cannot be read any more: {_counts(run)}"
    if now != run.suite.read_text(encoding="utf-8"):
        return f"suite {path}: changed since the run began: {_counts(run)}"
    return None


def _read(run: RunFolder) -> _Kept:
    return read_toml(run.suite, _Kept, expected="the suite that the run began with")


def _content(records: Path) -> str | None:
    return sha256_file(records) if records.is_file() else None


def _digest(plain: Mapping[str, object], suite: Suite) -> str:
    # The suite's own is of the files that its audits name, too.
    whole = json.dumps([suite.sha256, plain], sort_keys=True)
    return hashlib.sha256(whole.encode()).hexdigest()


def _counts(run: RunFolder) -> str:
    return f"{run.suite} counts, which the run began with"
