"""How a suite's figures went by round: which are shown, and on which scale."""

from pathlib import Path

import pytest

from fedloom.server.evaluator.evaluation import Evaluation, SubjectFindings
from fedloom.server.report.html import render_html
from fedloom.server.report.rounds import by_round_table, figures_by_round, read_rounds
from fedloom.server.run.folder import RunFolder
from tests.support.released import a_figure, an_audit, an_evaluation
from tests.support.reports import Page, a_report


def measured(accuracy: float, *, chance: float | None = None) -> Evaluation:
    figure = a_figure("accuracy", accuracy, accuracy - 0.05, accuracy + 0.05)
    other = a_figure("other", 0.123, None, None)
    audit = an_audit("validation", figure.model_copy(update={"chance": chance}), other)
    return an_evaluation(audit, an_audit("bbq", why_not="none"))


def with_start(found: Evaluation, accuracy: float) -> Evaluation:
    (audit, *_) = measured(accuracy).subject.audits
    start = found.subject.model_copy(update={"name": "base", "kind": "base", "audits": (audit,)})
    subjects: tuple[SubjectFindings, ...] = (*found.subjects, start)
    return found.model_copy(update={"subjects": subjects})


FINAL = with_start(measured(0.9), 0.5)


def test_start_rounds_and_end_are_in_order_with_intervals_on_the_scale_of_the_axis() -> None:
    """The last round's file is of the adapter that the final evaluation is about, too."""
    after = {6: measured(0.1), 4: measured(0.8), 2: measured(0.6)}
    (found,) = figures_by_round(FINAL, after, last=6)
    (line,) = found.chart.series
    assert found.chart.y == "%"
    assert line.x == (0, 2, 4, 6)
    assert line.y == pytest.approx((50, 60, 80, 90))
    assert line.low == pytest.approx((45, 55, 75, 85))
    assert line.high == pytest.approx((55, 65, 85, 95))
    rows = by_round_table((found,)).rows
    assert rows[1] == ("2", "60.0 % [55.0, 65.0]")


def test_chance_is_a_line_beside_where_all_rounds_know_it() -> None:
    (found,) = figures_by_round(measured(0.9, chance=0.5), {2: measured(0.6, chance=0.4)}, last=6)
    assert [(one.name, one.y) for one in found.chart.series] == [
        ("measured", pytest.approx((60, 90))),
        ("by chance", pytest.approx((40, 50))),
    ]


@pytest.mark.parametrize("part", ["suite_sha256", "corpus_sha256"])
def test_rounds_of_another_suite_or_of_other_records_are_no_part_of_a_line(part: str) -> None:
    other = measured(0.6).model_copy(update={part: "00" * 32})
    assert figures_by_round(FINAL, {2: other}, last=6) == ()
    assert figures_by_round(FINAL, {6: measured(0.8)}, last=6) == (), "the end alone is no course"
    (found,) = figures_by_round(FINAL, {2: other, 4: measured(0.8)}, last=6)
    assert list(found.by_round) == [0, 4, 6]


def test_the_page_draws_them_out_of_the_runs_own_files(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.evaluations.mkdir()
    measured(0.6).write(folder.evaluations / "round-0001.json")
    after = read_rounds(folder)
    assert list(after) == [1]
    page = " ".join(Page(render_html(a_report(), FINAL, after=after)).text.split())
    assert "figures by round" in page and "1 60.0 % [55.0, 65.0]" in page
    assert "figures by round" not in render_html(a_report(), FINAL)
    assert read_rounds(RunFolder(tmp_path / "none")) == {}
