"""What a suite found, on a terminal: figures beside chance, and what tells two adapters apart."""

import pytest

from fedloom.cli.auditing import say_evaluation
from fedloom.server.evaluator.evaluation import Comparison, Evaluation
from tests.support.released import VALIDATION, a_figure, an_audit, an_evaluation


def compared(key: str, difference: float, p_value: float, *, half: float = 0.01) -> Comparison:
    return Comparison(
        audit="swaps",
        key=key,
        subject="federation",
        against="other",
        difference=difference,
        low=difference - half,
        high=difference + half,
        p_value=p_value,
        records=400,
    )


def said(evaluation: Evaluation, capsys: pytest.CaptureFixture[str]) -> list[str]:
    say_evaluation(evaluation)
    return capsys.readouterr().out.splitlines()


def beside(*comparisons: Comparison) -> Evaluation:
    figures = [a_figure(one.key, 0.5, 0.4, 0.6) for one in comparisons]
    evaluation = an_evaluation(VALIDATION, an_audit("swaps", *figures))
    return evaluation.model_copy(update={"comparisons": comparisons})


def test_what_differs_is_told_with_its_interval_the_surest_first(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """They were in evaluation.json alone. Neither a small p-value nor an interval is enough."""
    lines = said(
        beside(
            compared("likely", -0.05, 0.03),
            compared("sure", 0.2, 0.0002),
            compared("surest", 0.4, 0.0002),
            compared("by-test-alone", 0.01, 0.04, half=0.02),
            compared("by-interval-alone", 0.05, 0.06),
        ),
        capsys,
    )
    at = lines.index(
        "of 5 figures compared in pairs with other, 3 differ; about 0.2 would by chance"
    )
    assert [" ".join(line.split()) for line in lines[at + 1 :]] == [
        "swaps.surest +40.0 points [39.0, 41.0], p < 0.001",
        "swaps.sure +20.0 points [19.0, 21.0], p < 0.001",
        "swaps.likely -5.0 points [-6.0, -4.0], p = 0.030",
    ]


def test_no_more_than_ten_are_told_and_the_others_counted(
    capsys: pytest.CaptureFixture[str],
) -> None:
    many = [compared(f"k{at}", 0.2, 0.001) for at in range(13)]
    lines = said(beside(*many), capsys)
    assert sum(line.startswith("  swaps.k") for line in lines) == 10
    assert lines[-1] == "  and 3 more, in evaluation.json and on the page"


def test_where_none_differs_it_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    lines = said(beside(compared("same", 0.0, 1.0)), capsys)
    assert lines[-1] == "of 1 figure compared in pairs with other, none differs beyond chance"
    assert not any("compared" in line for line in said(an_evaluation(VALIDATION), capsys))


def test_chance_stands_in_the_line_of_its_figure_in_the_same_unit(
    capsys: pytest.CaptureFixture[str],
) -> None:
    auc = a_figure("auc", 0.512, 0.5, 0.52).model_copy(update={"chance": 0.5})
    lines = said(an_evaluation(an_audit("membership", auc)), capsys)
    assert "auc 51.2 % [50.0, 52.0] by chance 50.0 %" in [" ".join(one.split()) for one in lines]


@pytest.mark.parametrize(("applies", "told"), [(True, "not measured"), (False, "does not apply")])
def test_what_could_not_be_measured_is_not_called_beside_the_point(
    applies: bool, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    audit = an_audit("bbq", why_not="the file is missing")
    audit = audit.model_copy(update={"applies": applies})
    assert f"  bbq: {told}, the file is missing" in said(an_evaluation(audit), capsys)
