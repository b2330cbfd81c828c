"""Audits by the name that a suite gives them. A new one: its file, and one line here."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Generic, Protocol, TypeVar

from fedloom.server.evaluator.audits.base import Audit, Options
from fedloom.server.evaluator.audits.exposure import Exposure, ExposureOptions
from fedloom.server.evaluator.audits.membership import Membership, MembershipOptions
from fedloom.server.evaluator.audits.validation import Validation, ValidationOptions

_Options = TypeVar("_Options", bound=Options)


class Kind(Protocol):
    """What a suite needs to know of a kind of audit."""

    @property
    def options(self) -> type[Options]:
        """The model of its section."""

    def make(self, options: Options) -> Audit:
        """The audit with these options, which are of the type above."""


@dataclass(frozen=True)
class _Kind(Generic[_Options]):
    options: type[_Options]
    build: Callable[[_Options], Audit]

    def make(self, options: Options) -> Audit:
        """Checked again, so that only options of its own reach an audit."""
        return self.build(self.options.model_validate(options.model_dump()))


def _kind(options: type[_Options], build: Callable[[_Options], Audit]) -> Kind:
    return _Kind(options, build)


AUDITS: Mapping[str, Kind] = MappingProxyType(
    {
        "validation": _kind(ValidationOptions, Validation),
        "membership": _kind(MembershipOptions, Membership),
        "exposure": _kind(ExposureOptions, Exposure),
    }
)
