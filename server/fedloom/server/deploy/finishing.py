"""What is left of a run: its adapter as a PEFT folder, and its report."""

from fedloom.server.app import OpenedRun
from fedloom.server.initial import save_adapter
from fedloom.server.report.build import Findings, build_report
from fedloom.server.report.schema import Timings
from fedloom.server.report.writing import write_report
from fedloom.server.run.budgets import read_budgets
from fedloom.server.run.checkpoint import read_checkpoint
from fedloom.server.run.heads import settle_heads
from fedloom.server.run.journal import Journal

_NO_RECORDS = (
    "accuracy: no record is at the coordinator's; fedloom evaluate scores the adapter on a file "
    "of labelled records"
)


def finish(run: OpenedRun, *, seconds: float) -> None:
    """Write the adapter and the report; `seconds` is how long the last Flower run of it took.

    Raises:
        CheckpointError: the last round is damaged.
        ModelError: the base model is another by now.
    """
    folder = run.folder
    plan = folder.read_plan()
    final = read_checkpoint(folder.checkpoints, plan.rounds.total, plan.sha256)
    save_adapter(plan, run.model, final, target=folder.adapter)
    findings = Findings(
        adapter=final,
        rounds=Journal(folder.rounds).entries(),
        heads=settle_heads(run.heads_file, folder.heads, [site.name for site in plan.sites]),
        budgets=read_budgets(folder.budgets),
        curve=(),
        arms=(),
        omitted=(_NO_RECORDS,),
        holdout="test",
        setting="deployment",
        timings=Timings(train=seconds, compare=0.0, evaluate=0.0, total=seconds),
    )
    write_report(build_report(plan, findings), folder)
