"""Puts what canaries told into the evaluation of the run that they stand for."""

from fedloom.server.evaluator.evaluation import Evaluation
from fedloom.server.evaluator.findings import AuditFindings
from fedloom.server.report.writing import write_page
from fedloom.server.run.folder import RunFolder
from fedloom.shared.errors import EvaluationError

_TWIN = (
    "Measured on a run of its own with canaries among its records, by the same federation file: "
    "not on the very adapter beside which it stands."
)


def check_attachable(run: RunFolder, plan_sha256: str) -> None:
    """Make sure that a finished run is of the plan that is about to be audited.

    Raises:
        EvaluationError: it is of another plan, or was evaluated by no suite.
        RunFolderError: it is no run.
    """
    found = run.read_plan().sha256
    if found != plan_sha256:
        raise EvaluationError(
            f"run {run.path}: plan {found[:12]}…, expected {plan_sha256[:12]}…, that of the "
            "federation to be audited"
        )
    Evaluation.read(run.evaluation)


def attach(findings: AuditFindings, run: RunFolder) -> None:
    """Add the findings to the run's evaluation, in place of older ones, and write its page again.

    Raises:
        EvaluationError: the run's evaluation is missing or damaged.
    """
    told = findings.model_copy(update={"caveats": (_TWIN, *findings.caveats)})
    Evaluation.read(run.evaluation).with_audits([told]).write(run.evaluation)
    write_page(run)
