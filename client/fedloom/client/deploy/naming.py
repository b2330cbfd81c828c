"""The coordinator's key in a site's settings, in which a person's comments stay as they are."""

import re
import tomllib
from pathlib import Path

from fedloom.shared.errors import ConfigError

# A section's heading, with or without a comment behind it.
_SECTION = re.compile(r"^[^\S\n]*\[[^\S\n]*coordinator[^\S\n]*\][^\S\n]*(#.*)?$", re.MULTILINE)

_HEADING = re.compile(r"^[^\S\n]*\[", re.MULTILINE)
# As site init writes it, below its explanation.
_EXAMPLE = re.compile(r"^[^\S\n]*#[^\S\n]*public_key[^\S\n]*=.*$", re.MULTILINE)


def with_coordinator(settings: Path, public_key: str) -> str:
    """The text of site.toml with the coordinator's key; as it is, if it has it.

    Guarantee: read back, it is what it was but for this key.

    Raises:
        ConfigError: it is written in a way that leaves no place for the key.
    """
    text = settings.read_text(encoding="utf-8")
    if tomllib.loads(text) == _named(text, public_key):
        return text
    line = f'public_key = "{public_key}"'
    section = _SECTION.search(text)
    if section is None:
        changed = f"{text.rstrip()}\n\n[coordinator]\n{line}\n"
    else:
        changed = text[: section.end()] + _placed(text[section.end() :], line)
    if not _is(changed, _named(text, public_key)):
        problem = f"no place for the coordinator's key, expected {line} under [coordinator]"
        raise ConfigError(str(settings), [problem])
    return changed


def _placed(rest: str, line: str) -> str:
    """What follows the section's heading, with the key in place of the example of one."""
    following = _HEADING.search(rest)
    end = len(rest) if following is None else following.start()
    example = _EXAMPLE.search(rest, 0, end)
    if example is None:
        return f"\n{line}{rest}"
    return f"{rest[: example.start()]}{line}{rest[example.end() :]}"


def _named(text: str, public_key: str) -> dict[str, object]:
    tree = tomllib.loads(text)
    section = tree.get("coordinator", {})
    return {**tree, "coordinator": {**section, "public_key": public_key}}


def _is(text: str, tree: dict[str, object]) -> bool:
    try:
        return tomllib.loads(text) == tree
    except tomllib.TOMLDecodeError:
        return False
