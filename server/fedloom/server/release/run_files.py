"""A finished run's files, as a release takes them."""

from pathlib import Path

from fedloom.server.evaluator.evaluation import Evaluation
from fedloom.server.release.contents import (
    ADAPTER_FILES,
    EVALUATION,
    HEADS,
    PLAN,
    REPORT,
    TERMS,
    Contents,
    disagreements,
    parse_contents,
    parse_json,
)
from fedloom.server.release.publishing import published_evaluation, published_report
from fedloom.server.release.reading import read_file
from fedloom.server.report.schema import Report
from fedloom.server.run.folder import RunFolder
from fedloom.shared.config.release import read_terms
from fedloom.shared.errors import ReleaseError

# Of a run where no site answered, there is none.
_NO_HEADS = b"{}\n"


def run_files(run: RunFolder, evaluation: Path | None = None) -> dict[str, bytes]:
    """What the run left and may leave it, by the name that a release gives it; `evaluation` is
    another than the run's own.

    Raises:
        ReleaseError: the run is not at its end, or says nothing of what was promised.
        ConfigError: what was promised is damaged.
    """
    if not run.report_json.is_file():
        raise ReleaseError(f"{run.path}: no report.json, expected a run that came to its end")
    read_terms(run.release)
    paths = {PLAN: run.plan, TERMS: run.release, REPORT: run.report_json}
    paths |= {name: run.adapter / name for name in ADAPTER_FILES}
    if evaluation is not None or run.evaluation.is_file():
        paths[EVALUATION] = evaluation or run.evaluation
    if run.adapter.is_symlink():
        raise ReleaseError(f"{run.adapter}: a link, expected the run's own folder")
    files = {name: _content(path) for name, path in paths.items()}
    files[REPORT] = published_report(parse_json(files[REPORT], Report, source=REPORT))
    if EVALUATION in files:
        findings = parse_json(files[EVALUATION], Evaluation, source=EVALUATION)
        files[EVALUATION] = published_evaluation(findings)
    files[HEADS] = _content(run.heads) if run.heads.exists() else _NO_HEADS
    return files


def _content(path: Path) -> bytes:
    """What is there itself: a link might lead to what was never meant to leave."""
    if not (path.exists() or path.is_symlink()):
        raise ReleaseError(f"{path}: no such file, expected it in a run that came to its end")
    try:
        return read_file(path)
    except ReleaseError as error:
        raise ReleaseError(f"{path}: {error}") from error


def checked_contents(files: dict[str, bytes], run: RunFolder) -> Contents:
    """The files as values that agree with each other.

    Raises:
        ReleaseError: they are not of one run and one adapter.
        PlanError, ConfigError, CheckpointError: one of them is damaged.
    """
    contents = parse_contents(files)
    problem = next(disagreements(contents), None)
    if problem is not None:
        raise ReleaseError(f"run {run.path}: {problem}")
    return contents
