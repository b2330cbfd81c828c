"""The report as files beside a run."""

from fedloom.server.evaluator.evaluation import Evaluation
from fedloom.server.release.decision import Decision
from fedloom.server.report.compliance import compliance_of
from fedloom.server.report.html import render_html
from fedloom.server.report.markdown import render_markdown
from fedloom.server.report.rounds import read_rounds
from fedloom.server.report.schema import Report
from fedloom.server.run.folder import RunFolder
from fedloom.shared.files import OWNER_ONLY, write_durably


def write_page(folder: RunFolder, decision: Decision | None = None) -> None:
    """Write the page again, and the facts for an assessment, by what lies in the folder now.

    Raises:
        EvaluationError: the run's evaluation, or one after a round, is damaged.
    """
    report = Report.model_validate_json(folder.report_json.read_bytes())
    evaluation = Evaluation.read(folder.evaluation) if folder.evaluation.is_file() else None
    _write_pages(report, folder, evaluation, decision)


def write_report(report: Report, folder: RunFolder, evaluation: Evaluation | None = None) -> None:
    """Write the report's renderings, the page with what a suite measured.

    Raises:
        EvaluationError: what it measured after a round is damaged.
    """
    write_durably(folder.report_markdown, render_markdown(report).encode())
    # Where it is, the run is at its end; what is drawn after it can be drawn again.
    write_durably(folder.report_json, report.model_dump_json(indent=2).encode())
    _write_pages(report, folder, evaluation, None)


def _write_pages(
    report: Report, folder: RunFolder, evaluation: Evaluation | None, decision: Decision | None
) -> None:
    page = render_html(report, evaluation, decision, read_rounds(folder)).encode()
    # For the owner alone: examples show texts of the records.
    write_durably(folder.report_html, page, mode=OWNER_ONLY)
    compliance = compliance_of(report, evaluation)
    write_durably(folder.compliance, compliance.model_dump_json(indent=2).encode())
