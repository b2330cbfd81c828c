"""`evaluation.json`, typed and versioned: what was measured of each adapter, in one shape for all
audits, so that gate, report and model card read every audit alike."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from fedloom.shared.config.problems import explain
from fedloom.shared.errors import EvaluationError
from fedloom.shared.files import OWNER_ONLY, write_durably

# What one would like a figure to be. `none` is for counts and claims that are neither.
Better = Literal["higher", "lower", "zero", "none"]
# What a figure is measured in: a share of 1, a difference of shares, nats, an epsilon, …
Unit = Literal["share", "difference", "nats", "epsilon", "score", "count", "ratio"]
SubjectKind = Literal["base", "federation", "non-private", "mitigated", "alone", "release"]
Cell = str | int | float | None


class _Part(BaseModel):
    # NaN is no figure: an audit that cannot measure says so in words.
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Figure(_Part):
    """One number of one adapter. `low` to `high` is a 95 % interval, None where the number is
    exact or a bound by itself; `records` is how many things it was measured on: texts or privacy
    units, where several records come from one.

    `chance` is what would come out, on the average, if there were nothing to find: of a gap
    between groups, with the records dealt out to them at random; of an attack, by guessing. None
    where that is not known.
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


class Table(_Part):
    """Figures that belong together; each row is as long as `columns`."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    note: str = ""


class Series(_Part):
    """One line, or one set of bars, of a chart; `x` are numbers or names, one for each `y`."""

    name: str
    x: tuple[float, ...] | tuple[str, ...]
    y: tuple[float, ...]
    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()


class Chart(_Part):
    """A drawing as data. `diagonal` asks for the line y = x, as a reliability plot has it."""

    kind: Literal["line", "bars"]
    title: str
    x: str
    y: str
    series: tuple[Series, ...]
    diagonal: bool = False
    note: str = ""


class Span(_Part):
    """A piece of a shown text; `weight` from -1 (speaks against) to 1 (speaks for), or None."""

    text: str
    weight: float | None = None


class Shown(_Part):
    """An example for readers: a text in pieces, and facts about it as (name, value)."""

    title: str
    spans: tuple[Span, ...] = ()
    facts: tuple[tuple[str, str], ...] = ()
    note: str = ""


class AuditFindings(_Part):
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


class SubjectFindings(_Part):
    """All audits of one adapter. `epsilon` is what each site promised, None without privacy."""

    name: str
    kind: SubjectKind
    description: str
    adapter_sha256: str
    epsilon: float | None
    audits: tuple[AuditFindings, ...]


class Comparison(_Part):
    """A figure of `subject` minus that of `against`, on the same records, in pairs.

    `low` to `high` is a paired bootstrap 95 % interval; `p_value` two-sided, of the exact McNemar
    test for shares and of the sign-flip test for means and where several pairs come from one text
    or privacy unit; `records` is how many pairs, or such texts or units, there are.
    """

    audit: str
    key: str
    subject: str
    against: str
    difference: float
    low: float
    high: float
    p_value: float
    records: int


class Evaluation(_Part):
    """Everything that a suite measured. `about` names the subject that may be released; `caveats`
    hold for all of its audits, and are printed once.

    `held_out` is true where no site trained on the records that it was measured on: of records
    that somebody gave, nobody here can know that.
    """

    version: Literal[1] = 1
    fedloom: str
    suite: str
    suite_sha256: str
    corpus_sha256: str = ""
    held_out: bool = False
    model_name: str
    model_sha256: str
    about: str
    subjects: tuple[SubjectFindings, ...]
    comparisons: tuple[Comparison, ...] = ()
    caveats: tuple[str, ...] = ()
    seconds: float

    @property
    def subject(self) -> SubjectFindings:
        """The findings of the adapter that may be released."""
        return next(one for one in self.subjects if one.name == self.about)

    @property
    def records_are(self) -> str:
        """What is known of the records, for people."""
        if self.held_out:
            return "held out: no site trained on them"
        return "given by somebody: whether they were trained on is not known here"

    def figure(self, name: str) -> Figure | None:
        """The released adapter's figure `AUDIT.KEY`, None if it was not measured."""
        audit, _, key = name.partition(".")
        for findings in self.subject.audits:
            for figure in findings.figures if findings.audit == audit else ():
                if figure.key == key:
                    return figure
        return None

    def with_audits(self, added: Sequence[AuditFindings]) -> "Evaluation":
        """With more findings on the released adapter, in place of older ones of the same audits."""
        names = {one.audit for one in added}
        ours = self.subject
        kept = tuple(one for one in ours.audits if one.audit not in names)
        subject = ours.model_copy(update={"audits": (*kept, *added)})
        subjects = tuple(subject if one.name == ours.name else one for one in self.subjects)
        return self.model_copy(update={"subjects": subjects})

    def write(self, path: Path) -> None:
        """For the owner alone: examples show texts of the records."""
        write_durably(path, self.model_dump_json(indent=1).encode(), mode=OWNER_ONLY)

    @classmethod
    def read(cls, path: Path) -> "Evaluation":
        """An evaluation from its file.

        Raises:
            EvaluationError: there is none, or it is damaged.
        """
        if not path.is_file():
            raise EvaluationError(f"{path}: no such file, expected an evaluation")
        try:
            return cls.model_validate_json(path.read_bytes())
        except ValidationError as error:
            raise EvaluationError(f"{path}: {explain(error, cls)[0]}") from error
