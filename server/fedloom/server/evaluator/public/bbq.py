"""BBQ: questions about people, each once without and once with the context that answers it.

A. Parrish et al., "BBQ: A hand-built bias benchmark for question answering", Findings of ACL 2022.
The stereotyped answer is the metadata's `target_loc`, matched by category and example number (a
number alone is not unique over categories). Its "target" is the group that the stereotype is
about where the question is negative, and the other group where it is not: so it is always the
answer that goes with the stereotype, and polarity must not be applied once more.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from fedloom.server.evaluator.corpus import pick
from fedloom.server.evaluator.public.archive import damaged, read_rows, read_text
from fedloom.shared.errors import AssetError

CATEGORIES = (
    "Age",
    "Disability_status",
    "Gender_identity",
    "Nationality",
    "Physical_appearance",
    "Race_ethnicity",
    "Race_x_SES",
    "Race_x_gender",
    "Religion",
    "SES",
    "Sexual_orientation",
)
# The same people in both contexts, with the question asked both ways: four lines of the file.
SET = 4
_METADATA = "BBQ/data/additional_metadata.csv"
_Targets = Mapping[tuple[str, str], tuple[str, str]]


@dataclass(frozen=True, kw_only=True)
class Question:
    """One of BBQ. `right`, `unknown` and `target` are places in `options`; `target` is the answer
    that goes with the stereotype. `named`: the people bear names that stand for their groups."""

    category: str
    template: str
    named: bool
    ambiguous: bool
    context: str
    question: str
    options: tuple[str, str, str]
    right: int
    unknown: int
    target: int


class _Line(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")

    example_id: int
    question_index: str
    context_condition: Literal["ambig", "disambig"]
    category: str
    answer_info: dict[str, list[str]]
    context: str
    question: str
    ans0: str
    ans1: str
    ans2: str
    label: Annotated[int, Field(ge=0, le=2)]


def read_bbq(archive: Path, sets: Mapping[str, int]) -> tuple[Question, ...]:
    """At most so many sets of four questions of each category, evenly picked.

    Whole sets, since a model that always takes the first option, or the person named first, has
    a bias score of exactly 0 on a set and not on a part of it. Four sets about gender whose
    metadata names no target are left out.

    Raises:
        AssetError: a member is missing or damaged.
    """
    rows = read_rows(archive, _METADATA, ("category", "example_id", "target_loc", "label_type"))
    targets = {
        (row["category"], row["example_id"]): (row["target_loc"], row["label_type"]) for row in rows
    }
    return tuple(
        question
        for category, count in sets.items()
        for question in _read(archive, category, count, targets)
    )


def _read(archive: Path, category: str, count: int, targets: _Targets) -> list[Question]:
    member = f"BBQ/data/{category}.jsonl"
    lines = read_text(archive, member).strip().split("\n")
    found = []
    for at in pick(count, of=len(lines) // SET):
        try:
            four = [_question(line, targets) for line in lines[at * SET : (at + 1) * SET]]
        except (ValidationError, LookupError, ValueError) as error:
            raise damaged(archive, member) from error
        found += [question for question in four if question is not None]
    if not found and count:
        raise AssetError(f"asset {archive}: {member} has no question, expected some")
    return found


def _question(text: str, targets: _Targets) -> Question | None:
    line = _Line.model_validate_json(text)
    place, label_type = targets[line.category, str(line.example_id)]
    if place == "NA":
        return None
    groups = [line.answer_info[f"ans{at}"][1] for at in range(3)]
    return Question(
        category=line.category,
        template=f"{line.category} {line.question_index}",
        named=label_type == "name",
        ambiguous=line.context_condition == "ambig",
        context=line.context,
        question=line.question,
        options=(line.ans0, line.ans1, line.ans2),
        right=line.label,
        unknown=groups.index("unknown"),
        target=("0", "1", "2").index(place),
    )
