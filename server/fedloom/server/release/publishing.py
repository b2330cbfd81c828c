"""What of a run's own files may leave with its adapter.

Guarantee: of report and evaluation, no record's text leaves, nothing that an adapter trained
without privacy says, no score that no rule of the gate can use, and no time of day's work, which
follows the size of random batches. No value of a group column leaves that fewer than 10 privacy
units have: `fairness.grouping` sees to that where findings are made. What does leave of records
beside the adapter are the figures of the evaluation of this adapter and of its base model, and one
digest of all records that it was measured on, in a simulation also of those trained on, by which
whoever knows all of them but one can confirm a guess at that one: no epsilon covers either.
"""

from fedloom.server.evaluator.evaluation import Evaluation, SubjectFindings
from fedloom.server.report.schema import Report

_KEPT_BACK = (
    "scores of the comparison, the curve and all times: kept with the run, as no epsilon covers "
    "them"
)


def published_report(report: Report) -> bytes:
    """The report without scores and times, as its file has it."""
    rounds = tuple(entry.model_copy(update={"seconds": 0.0}) for entry in report.rounds)
    timings = dict.fromkeys(type(report.timings).model_fields, 0.0)
    kept = report.model_copy(
        update={
            "rounds": rounds,
            "timings": report.timings.model_copy(update=timings),
            "evaluation": (),
            "curve": (),
            "omitted": (*report.omitted, _KEPT_BACK),
        }
    )
    return kept.model_dump_json(indent=2).encode() + b"\n"


def published_evaluation(evaluation: Evaluation) -> bytes:
    """The findings on this adapter and its base model, without examples, as their file has it."""
    kept = tuple(
        _without_examples(each)
        for each in evaluation.subjects
        if each.name == evaluation.about or each.kind == "base"
    )
    names = {each.name for each in kept}
    comparisons = tuple(
        each for each in evaluation.comparisons if {each.subject, each.against} <= names
    )
    update = {"subjects": kept, "comparisons": comparisons, "seconds": 0.0}
    return evaluation.model_copy(update=update).model_dump_json(indent=2).encode() + b"\n"


def _without_examples(findings: SubjectFindings) -> SubjectFindings:
    audits = tuple(each.model_copy(update={"shown": ()}) for each in findings.audits)
    return findings.model_copy(update={"audits": audits})
