"""Settings as TOML in which a comment over each key says what it does."""

import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import tomli_w

from fedloom.shared.config.values import Section

_WIDTH = 96


@dataclass(frozen=True, kw_only=True)
class Note:
    """What a key does; a key without a value is written as a comment, with `example` for it."""

    text: str
    example: str | float | None = None


def commented(document: Section, notes: Mapping[str, Note], *, opening: str) -> str:
    """The document's TOML, with the note of each section and key, by its dotted name.

    Guarantee: read back, it is the document.
    """
    tree: Mapping[str, object] = document.model_dump(mode="json")
    # A key of the whole file must come before its first section.
    lines = [*_comment(opening), *_keys(tree, notes)]
    for name, value in tree.items():
        if isinstance(value, dict):
            within = f"{name}."
            lines += ["", f"[{name}]", *_note(notes, name), *_keys(value, notes, within=within)]
    return "\n".join(lines) + "\n"


def _keys(
    tree: Mapping[str, object], notes: Mapping[str, Note], *, within: str = ""
) -> Iterator[str]:
    for key, value in tree.items():
        if isinstance(value, dict):
            continue
        dotted = f"{within}{key}"
        yield from ("", *_note(notes, dotted))
        if value is not None:
            yield f"{key} = {_value(value)}"
        elif dotted in notes:
            yield f"# {key} = {_value(notes[dotted].example)}"


def _note(notes: Mapping[str, Note], dotted: str) -> list[str]:
    return _comment(notes[dotted].text) if dotted in notes else []


def _comment(text: str) -> list[str]:
    return [
        line
        for paragraph in text.splitlines()
        for line in textwrap.wrap(
            paragraph,
            _WIDTH,
            initial_indent="# ",
            subsequent_indent="# ",
            break_long_words=False,
            break_on_hyphens=False,
        )
    ]


def _value(value: object) -> str:
    if isinstance(value, list):
        return f"[{', '.join(map(_value, value))}]"
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:_}"
    return tomli_w.dumps({"it": value}).removeprefix("it = ").rstrip("\n")
