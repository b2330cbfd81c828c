"""A TOML file that people wrote, as a checked model."""

import tomllib
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from fedloom.shared.config.problems import explain
from fedloom.shared.errors import ConfigError

_Model = TypeVar("_Model", bound=BaseModel)


def read_toml(path: Path, model: type[_Model], *, expected: str) -> _Model:
    """The file's content as `model`; `expected` says what file it should be.

    Raises:
        ConfigError: missing, no TOML, or with problems; all are named at once.
    """
    if not path.is_file():
        raise ConfigError(str(path), [f"no such file, expected {expected}"])
    return parse_toml(path.read_bytes(), model, source=str(path))


def parse_toml(content: bytes, model: type[_Model], *, source: str) -> _Model:
    """As `read_toml`, from a file's content; `source` is where it is from.

    Raises:
        ConfigError: no TOML, or with problems; all are named at once.
    """
    try:
        return model.model_validate(tomllib.loads(content.decode()))
    except ValidationError as error:
        raise ConfigError(source, explain(error, model)) from error
    except (ValueError, RecursionError) as error:
        # Besides syntax: bytes that are no UTF-8, numbers without end, nesting without end.
        raise ConfigError(source, [f"not TOML: {error}"]) from error
