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
    try:
        return model.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except ValidationError as error:
        raise ConfigError(str(path), explain(error, model)) from error
    except (ValueError, RecursionError) as error:
        # Besides syntax: bytes that are no UTF-8, numbers without end, nesting without end.
        raise ConfigError(str(path), [f"not TOML: {error}"]) from error
