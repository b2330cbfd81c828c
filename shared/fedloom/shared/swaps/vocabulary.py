"""An axis' word lists, out of the file of its name in `terms/`."""

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from types import MappingProxyType
from typing import Literal, Self, get_args

from pydantic import Field, model_validator

from fedloom.shared.config.values import Section

# Each has its word lists in `terms/`.
Axis = Literal["gender", "names", "religion", "ethnicity"]
AXES: tuple[Axis, ...] = get_args(Axis)
_Rows = tuple[tuple[str, ...], ...]
# Between a word and the part that it plays: `her/object`.
_PART = "/"


class _Qualified(Section):
    rows: _Rows
    before: tuple[str, ...]


class TermsDocument(Section):
    """The file: each row has one term for each of `groups`, in their order.

    `rows` are read in any case, `names` only with capitals, `qualified` only before one of its
    words; `aliases` are read as another term and never written.
    """

    groups: tuple[str, ...] = Field(min_length=2)
    rows: _Rows = ()
    names: _Rows = ()
    qualified: _Qualified | None = None
    aliases: dict[str, str] = Field(default_factory=dict)

    @property
    def all_rows(self) -> Iterator[tuple[str, ...]]:
        """Every row, the qualified last."""
        yield from (*self.rows, *self.names, *(self.qualified.rows if self.qualified else ()))

    @model_validator(mode="after")
    def _rows_fit_groups(self) -> Self:
        for row in self.all_rows:
            if len(row) != len(self.groups):
                raise ValueError(f"row {list(row)}: expected one term for each of the groups")
        return self


@dataclass(frozen=True, kw_only=True)
class Term:
    """One word of a list: its row, and which group it stands for."""

    row: tuple[str, ...]
    group: int

    @property
    def written(self) -> str:
        """As it is spelt inside a sentence."""
        return spelling(self.row[self.group])

    def shifted(self, shift: int) -> str:
        """The word of the group that is `shift` places on, in a circle."""
        return spelling(self.row[(self.group + shift) % len(self.row)])


@dataclass(frozen=True, kw_only=True)
class Vocabulary:
    """All terms of an axis by key, a term in lower case with the part it plays."""

    groups: tuple[str, ...]
    terms: Mapping[str, Term]
    names: frozenset[str]
    qualified: frozenset[str]
    before: tuple[str, ...]


def spelling(term: str) -> str:
    """A term without the part that it plays."""
    return term.partition(_PART)[0]


@cache
def vocabulary(axis: str) -> Vocabulary:
    """The lists of one axis."""
    text = files("fedloom.shared.swaps").joinpath("terms", f"{axis}.toml").read_text("utf-8")
    return built(TermsDocument.model_validate(tomllib.loads(text)))


def built(document: TermsDocument) -> Vocabulary:
    """The lists as texts are read by them. Of two rows with one term, the earlier has it."""
    terms: dict[str, Term] = {}
    for row in document.all_rows:
        for group, word in enumerate(row):
            terms.setdefault(word.casefold(), Term(row=row, group=group))
    terms |= {alias.casefold(): terms[of.casefold()] for alias, of in document.aliases.items()}
    qualified = document.qualified
    return Vocabulary(
        groups=document.groups,
        terms=MappingProxyType(terms),
        names=_keys(document.names),
        qualified=_keys(qualified.rows if qualified else ()) - _keys(document.rows),
        before=qualified.before if qualified else (),
    )


def _keys(rows: _Rows) -> frozenset[str]:
    return frozenset(word.casefold() for row in rows for word in row)
