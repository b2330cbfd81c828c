"""`evaluation.json`, typed and versioned: what a suite measured of each adapter, and how they
compare."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from pydantic import ValidationError

from fedloom.server.evaluator.findings import AuditFindings, Figure, Part
from fedloom.shared.config.problems import explain
from fedloom.shared.errors import EvaluationError
from fedloom.shared.files import OWNER_ONLY, write_durably

SubjectKind = Literal["base", "federation", "non-private", "mitigated", "alone", "release"]


class SubjectFindings(Part):
    """All audits of one adapter. `epsilon` is what each site promised, None without privacy."""

    name: str
    kind: SubjectKind
    description: str
    adapter_sha256: str
    epsilon: float | None
    audits: tuple[AuditFindings, ...]


class Comparison(Part):
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


class Evaluation(Part):
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
