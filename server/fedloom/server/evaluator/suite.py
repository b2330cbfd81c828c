"""`SUITE.toml`: which audits are run, on what, with which options."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Annotated

from pydantic import Field, ValidationError

from fedloom.server.evaluator.audits.base import Audit, Options
from fedloom.server.evaluator.audits.registry import AUDITS
from fedloom.server.evaluator.sections import RecordsSection
from fedloom.shared.config.data import DEFAULT_SUITE
from fedloom.shared.config.problems import explain
from fedloom.shared.config.reading import read_toml
from fedloom.shared.config.values import Name, Section
from fedloom.shared.errors import ConfigError
from fedloom.shared.words import nearest


class SuiteSection(Section):
    """`[suite]`: its name, and the batch that audits run in (a simulation has its own).

    `not_compared` names audits that are asked of the adapter that may be released alone, and not
    of those beside it: what takes long, or says nothing of an untrained one.
    """

    name: Name
    batch_size: Annotated[int, Field(ge=1, le=4096)] = 64
    not_compared: tuple[str, ...] = ()


class SuiteDocument(Section):
    """The file as it is written; each table under `[audits]` is read by its audit's options."""

    suite: SuiteSection
    records: RecordsSection | None = None
    audits: dict[str, dict[str, object]] = Field(min_length=1)


@dataclass(frozen=True, kw_only=True)
class Suite:
    """Audits by name, ready to run, in the file's order; `options` are what each was made of."""

    name: str
    batch_size: int
    records: RecordsSection | None
    not_compared: frozenset[str] = frozenset()
    audits: Mapping[str, Audit]
    options: Mapping[str, Options]

    @property
    def sha256(self) -> str:
        """Digest of the suite's name and all its options, defaults included."""
        plain = {name: found.model_dump(mode="json") for name, found in self.options.items()}
        whole = [self.name, plain, sorted(self.not_compared)]
        return hashlib.sha256(json.dumps(whole, sort_keys=True).encode()).hexdigest()


def read_suite(path: Path) -> Suite:
    """Read and check a suite; a relative path in it is taken from the file's folder.

    A path that ends in `default`, where no file is, is the suite that comes with FedLoom.

    Raises:
        ConfigError: the file is missing, no TOML, names an unknown audit, or an audit has
            options that it does not know; all are named at once.
    """
    if path.name == DEFAULT_SUITE and not path.exists():
        path = Path(str(files("fedloom.server.evaluator.suites") / "default.toml"))
    return suite_of(read_toml(path, SuiteDocument, expected="a suite of audits"), path)


def suite_of(document: SuiteDocument, path: Path) -> Suite:
    """What the document in a file says, ready to run.

    Raises:
        ConfigError: as `read_suite`.
    """
    folder = path.resolve().parent
    problems: list[str] = []
    options = dict(_options(document, problems, folder=folder))
    problems += [
        f"suite.not_compared: {name} is none of the suite's audits"
        for name in document.suite.not_compared
        if name not in document.audits
    ]
    if problems:
        raise ConfigError(str(path), problems)
    records = document.records
    if records is not None:
        records = records.model_copy(update={"path": folder / records.path})
    return Suite(
        name=document.suite.name,
        batch_size=document.suite.batch_size,
        records=records,
        not_compared=frozenset(document.suite.not_compared),
        audits={name: AUDITS[name].make(found) for name, found in options.items()},
        options=options,
    )


def _options(
    document: SuiteDocument, problems: list[str], *, folder: Path
) -> Iterator[tuple[str, Options]]:
    for name, written in document.audits.items():
        kind = AUDITS.get(name)
        if kind is None:
            problems.append(f"audits.{name}: unknown audit{nearest(name, AUDITS)}")
            continue
        try:
            yield name, kind.options.model_validate(written, context={"folder": folder})
        except ValidationError as error:
            problems += [f"audits.{name}.{line}" for line in explain(error, kind.options)]
