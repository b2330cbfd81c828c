"""What an audit found of one adapter, in one shape for all audits, so that gate, report and model
card read every audit alike."""

from typing import Literal

from pydantic import BaseModel, ConfigDict

# What one would like a figure to be. `none` is for counts and claims that are neither.
Better = Literal["higher", "lower", "zero", "none"]
# What a figure is measured in: a share of 1, a difference of shares, nats, an epsilon, …
Unit = Literal["share", "difference", "nats", "epsilon", "score", "count", "ratio"]
Cell = str | int | float | None


class Part(BaseModel):
    """Base of all that an evaluation holds: frozen, unknown keys refused."""

    # NaN is no figure: an audit that cannot measure says so in words.
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Figure(Part):
    """One number of one adapter. `low` to `high` is a 95 % interval, None where the number is
    exact, a bound by itself, or of one thing alone; `records` is how many things it was measured
    on: texts or privacy units, where several records come from one.

    `chance` is what would come out, on the average, if there were nothing to find: of a gap
    between groups, if all were alike; of an attack, by guessing. None where that is not known.
    """

    key: str
    words: str
    value: float
    low: float | None = None
    high: float | None = None
    records: int
    better: Better
    unit: Unit
    chance: float | None = None


class Table(Part):
    """Figures that belong together; each row is as long as `columns`."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    note: str = ""


class Series(Part):
    """One line, or one set of bars, of a chart; `x` are numbers or names, one for each `y`."""

    name: str
    x: tuple[float, ...] | tuple[str, ...]
    y: tuple[float, ...]
    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()


class Chart(Part):
    """A drawing as data. `diagonal` asks for the line y = x, as a reliability plot has it."""

    kind: Literal["line", "bars"]
    title: str
    x: str
    y: str
    series: tuple[Series, ...]
    diagonal: bool = False
    note: str = ""


class Span(Part):
    """A piece of a shown text; `weight` from -1 (speaks against) to 1 (speaks for), or None."""

    text: str
    weight: float | None = None


class Shown(Part):
    """An example for readers: a text in pieces, and facts about it as (name, value)."""

    title: str
    spans: tuple[Span, ...] = ()
    facts: tuple[tuple[str, str], ...] = ()
    note: str = ""


class AuditFindings(Part):
    """What one audit says of one adapter.

    `asks` is its question in plain words. Where `why_not` says why nothing was measured, there are
    no figures; `applies` is false where that is the adapter's own nature, and true where something
    else was missing. `caveats` are printed wherever the figures are.
    """

    audit: str
    title: str
    asks: str
    applies: bool = True
    why_not: str = ""
    figures: tuple[Figure, ...] = ()
    tables: tuple[Table, ...] = ()
    charts: tuple[Chart, ...] = ()
    shown: tuple[Shown, ...] = ()
    caveats: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()

    @property
    def measured(self) -> bool:
        """Whether the audit was carried out."""
        return self.applies and not self.why_not

    @property
    def state(self) -> Literal["measured", "not measured", "does not apply"]:
        """What came of the audit, for people: only of the first are there figures."""
        if not self.applies:
            return "does not apply"
        return "not measured" if self.why_not else "measured"
