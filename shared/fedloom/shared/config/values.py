"""What values of a config may be, and the base of its sections."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

# Beyond these, arithmetic ends before training does: a request of that kind is a mistake or worse.
MOST_NOISE = 1e4
MOST_STEPS = 1_000_000

# Strict: `true` is no number, and "8" is text. A whole number is still a float.
Integer = Annotated[int, Field(strict=True)]
Number = Annotated[float, Field(strict=True)]
Fraction = Annotated[Number, Field(ge=0, lt=1)]
OpenFraction = Annotated[Number, Field(gt=0, lt=1)]
Positive = Annotated[Number, Field(gt=0)]
Rate = Annotated[Positive, Field(le=1e4)]
Count = Annotated[Integer, Field(ge=1)]
Steps = Annotated[Count, Field(le=MOST_STEPS)]
Column = Annotated[str, Field(min_length=1, max_length=200)]
# The name of what is protected: a column, or `record`.
Unit = Column
NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$"
Name = Annotated[str, Field(pattern=NAME_PATTERN)]
FIGURE_PATTERN = r"^[^.\s]+\.\S+$"


class Section(BaseModel):
    """Base of all sections: frozen, unknown keys refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
