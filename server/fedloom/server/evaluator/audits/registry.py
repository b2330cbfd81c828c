"""Audits by the name that a suite gives them, in the order in which a reader should meet them.

A new one: its file, and one line here.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Generic, Protocol, TypeVar

from fedloom.server.evaluator.audits.base import Audit, Options
from fedloom.server.evaluator.audits.bbq import Bbq, BbqOptions
from fedloom.server.evaluator.audits.behaviour import Behaviour, BehaviourOptions
from fedloom.server.evaluator.audits.calibration import Calibration, CalibrationOptions
from fedloom.server.evaluator.audits.crows import Crows, CrowsOptions
from fedloom.server.evaluator.audits.explanations import Explanations, ExplanationsOptions
from fedloom.server.evaluator.audits.exposure import Exposure, ExposureOptions
from fedloom.server.evaluator.audits.groups import Groups, GroupsOptions
from fedloom.server.evaluator.audits.honest import Honest, HonestOptions
from fedloom.server.evaluator.audits.membership import Membership, MembershipOptions
from fedloom.server.evaluator.audits.multiple_choice import MultipleChoice, MultipleChoiceOptions
from fedloom.server.evaluator.audits.selective import Selective, SelectiveOptions
from fedloom.server.evaluator.audits.swaps import Swaps, SwapsOptions
from fedloom.server.evaluator.audits.tasks import Tasks, TasksOptions
from fedloom.server.evaluator.audits.validation import Validation, ValidationOptions
from fedloom.server.evaluator.audits.winobias import WinoBias, WinoBiasOptions
from fedloom.server.evaluator.audits.winogender import Winogender, WinogenderOptions

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
        return self.build(self.options.model_validate(options))


def _kind(options: type[_Options], build: Callable[[_Options], Audit]) -> Kind:
    return _Kind(options, build)


AUDITS: Mapping[str, Kind] = MappingProxyType(
    {
        "validation": _kind(ValidationOptions, Validation),
        "calibration": _kind(CalibrationOptions, Calibration),
        "selective": _kind(SelectiveOptions, Selective),
        "multiple-choice": _kind(MultipleChoiceOptions, MultipleChoice),
        "lm-eval": _kind(TasksOptions, Tasks),
        "behaviour": _kind(BehaviourOptions, Behaviour),
        "groups": _kind(GroupsOptions, Groups),
        "swaps": _kind(SwapsOptions, Swaps),
        "bbq": _kind(BbqOptions, Bbq),
        "winobias": _kind(WinoBiasOptions, WinoBias),
        "winogender": _kind(WinogenderOptions, Winogender),
        "honest": _kind(HonestOptions, Honest),
        "crows-pairs": _kind(CrowsOptions, Crows),
        "membership": _kind(MembershipOptions, Membership),
        "exposure": _kind(ExposureOptions, Exposure),
        "explanations": _kind(ExplanationsOptions, Explanations),
    }
)
