"""Turns pydantic's findings into lines for people, naming the nearest known key."""

import typing
from types import MappingProxyType

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from fedloom.shared.config.values import FIGURE_PATTERN, NAME_PATTERN
from fedloom.shared.words import nearest

# Values of these kinds of problem are shown; they come from a config file, never from records.
_SHOWN_LENGTH = 60
_PATTERNS = MappingProxyType(
    {
        NAME_PATTERN: "letters, digits, - and _, at most 64, a letter or digit first",
        FIGURE_PATTERN: "AUDIT.KEY, such as swaps.flip_rate",
    }
)


def explain(error: ValidationError, model: type[BaseModel]) -> list[str]:
    """One line for each problem: where, what, and what was expected."""
    details = error.errors(include_url=False)
    return [_line(detail, model) for detail in details if not _follows(detail, details)]


def _follows(detail: ErrorDetails, details: list[ErrorDetails]) -> bool:
    """Whether a list is too short only because an item of it is wrong, which is told anyway."""
    location = detail["loc"]
    return detail["type"] == "too_short" and any(
        other["loc"][: len(location)] == location and other["loc"] != location for other in details
    )


def _line(detail: ErrorDetails, model: type[BaseModel]) -> str:
    where = _dotted(detail["loc"])
    if detail["type"] == "extra_forbidden":
        return f"{where}: unknown key{_nearest(detail['loc'], model)}"
    if detail["type"] == "missing":
        return f"{where}: missing, expected a value"
    expected = _PATTERNS.get(str(detail.get("ctx", {}).get("pattern")))
    if expected is not None:
        return f"{where}: got {_shown(detail['input'])}, expected {expected}"
    message = detail["msg"].removeprefix("Value error, ")
    message = message.replace("Input should be", "expected")
    if detail["type"] == "value_error":
        return f"{where}: {message}" if detail["loc"] else message
    return f"{where}: got {_shown(detail['input'])}, {message[0].lower()}{message[1:]}"


def _dotted(location: tuple[int | str, ...]) -> str:
    text = ""
    for part in location:
        text += f"[{part + 1}]" if isinstance(part, int) else f".{_key(part)}"
    return text.lstrip(".") or "content"


def _key(part: str) -> str:
    # A key may come from a peer: neither line breaks nor megabytes of it reach a message.
    return part if part.isidentifier() and len(part) <= _SHOWN_LENGTH else _shown(part)


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN_LENGTH else text[: _SHOWN_LENGTH - 1] + "…"


def _nearest(location: tuple[int | str, ...], model: type[BaseModel]) -> str:
    known = sorted(_section_at(location[:-1], model).model_fields)
    return nearest(str(location[-1]), known)


def _section_at(location: tuple[int | str, ...], model: type[BaseModel]) -> type[BaseModel]:
    for part in location:
        if isinstance(part, str):
            model = _model_in(model.model_fields[part].annotation)
    return model


def _model_in(annotation: object) -> type[BaseModel]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for inner in typing.get_args(annotation):
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            return inner
    raise TypeError(f"{annotation} holds no section")
