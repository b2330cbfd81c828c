"""The coordinator's key in a site's settings, in which a person's comments stay as they are."""

import re
import tomllib
from pathlib import Path

from fedloom.shared.errors import ConfigError

# A section's heading, with or without a comment behind it.
_SECTION = re.compile(r"^[^\S\n]*\[[^\S\n]*coordinator[^\S\n]*\][^\S\n]*(#.*)?$", re.MULTILINE)


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
        changed = f"{text[: section.end()]}\n{line}{text[section.end() :]}"
    if not _is(changed, _named(text, public_key)):
        problem = f"no place for the coordinator's key, expected {line} under [coordinator]"
        raise ConfigError(str(settings), [problem])
    return changed


def _named(text: str, public_key: str) -> dict[str, object]:
    tree = tomllib.loads(text)
    section = tree.get("coordinator", {})
    return {**tree, "coordinator": {**section, "public_key": public_key}}


def _is(text: str, tree: dict[str, object]) -> bool:
    try:
        return tomllib.loads(text) == tree
    except tomllib.TOMLDecodeError:
        return False
