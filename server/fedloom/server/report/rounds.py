"""How an adapter came to what a suite measured at the end, where it was run after rounds too."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from fedloom.server.evaluator.evaluation import Evaluation, SubjectFindings
from fedloom.server.evaluator.findings import AuditFindings, Chart, Figure, Series, Table, Unit
from fedloom.server.report.figures import in_digits, in_unit
from fedloom.server.run.folder import RunFolder

_FACTOR: Mapping[Unit, float] = {"share": 100.0, "difference": 100.0}
_AXIS: Mapping[Unit, str] = {"share": "%", "difference": "points", "epsilon": "epsilon"}


@dataclass(frozen=True, kw_only=True)
class FigureByRound:
    """A figure that the suite has after several rounds, the first of `title`'s audit."""

    title: str
    by_round: Mapping[int, Figure]

    @property
    def chart(self) -> Chart:
        """A line over the rounds, with what chance would give where that is known."""
        found, last = self.by_round.values(), list(self.by_round.values())[-1]
        measured = Series(
            name="measured",
            x=self._rounds,
            y=self._scaled(one.value for one in found),
            low=self._scaled(one.low for one in found),
            high=self._scaled(one.high for one in found),
        )
        chance = Series(
            name="by chance", x=self._rounds, y=self._scaled(one.chance for one in found)
        )
        return Chart(
            kind="line",
            title=f"{self.title}: {last.words}",
            x="round",
            y=_AXIS.get(last.unit, last.unit),
            series=(measured, chance) if chance.y else (measured,),
        )

    @property
    def _rounds(self) -> tuple[float, ...]:
        return tuple(map(float, self.by_round))

    def _scaled(self, values: Iterable[float | None]) -> tuple[float, ...]:
        """In the unit of the axis, one a round; empty where a round has none."""
        unit = next(iter(self.by_round.values())).unit
        known = [_FACTOR.get(unit, 1.0) * one for one in values if one is not None]
        return tuple(known) if len(known) == len(self.by_round) else ()


def read_rounds(folder: RunFolder) -> dict[int, Evaluation]:
    """What a suite measured after rounds of a run, by round.

    Raises:
        EvaluationError: one of them is damaged.
    """
    paths = sorted(folder.evaluations.glob("round-*.json"))
    return {int(path.stem.removeprefix("round-")): Evaluation.read(path) for path in paths}


def figures_by_round(
    evaluation: Evaluation, after: Mapping[int, Evaluation], *, last: int
) -> tuple[FigureByRound, ...]:
    """The first figure of each audit at the start, after rounds, and after the `last` of them.

    Empty where no round before the last was measured by the same suite on the same records.
    """
    asked = (evaluation.suite_sha256, evaluation.corpus_sha256)
    before = {
        number: one.subject
        for number, one in sorted(after.items())
        if number < last and (one.suite_sha256, one.corpus_sha256) == asked
    }
    if not before:
        return ()
    start = [one for one in evaluation.subjects if one.kind == "base"]
    subjects = {**dict(zip((0,), start, strict=False)), **before, last: evaluation.subject}
    return tuple(_found(evaluation.subject, subjects))


def by_round_table(found: tuple[FigureByRound, ...]) -> Table:
    """The same in numbers."""
    rounds = sorted({number for one in found for number in one.by_round})
    return Table(
        title="The same in numbers",
        columns=("round", *(one.chart.title for one in found)),
        rows=tuple(
            (str(number), *(_cell(one.by_round.get(number)) for one in found)) for number in rounds
        ),
    )


def _found(
    final: SubjectFindings, subjects: Mapping[int, SubjectFindings]
) -> Iterator[FigureByRound]:
    for audit in final.audits:
        if not audit.figures:
            continue
        key = audit.figures[0].key
        figures = {number: _figure(one, audit, key) for number, one in subjects.items()}
        known = {number: figure for number, figure in figures.items() if figure is not None}
        if len(known) > 1:
            yield FigureByRound(title=audit.title, by_round=known)


def _figure(subject: SubjectFindings, audit: AuditFindings, key: str) -> Figure | None:
    figures = (one.figures for one in subject.audits if one.audit == audit.audit)
    return next((one for found in figures for one in found if one.key == key), None)


def _cell(figure: Figure | None) -> str:
    if figure is None:
        return "–"
    value = in_unit(figure.value, figure.unit)
    if figure.low is None or figure.high is None:
        return value
    ends = f"{in_digits(figure.low, figure.unit)}, {in_digits(figure.high, figure.unit)}"
    return f"{value} [{ends}]".replace("-", "−")
