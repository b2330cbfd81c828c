"""Trainers kept for the life of a process, so that a base model is loaded once."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fedloom.client.training.device import DeviceChoice
from fedloom.client.training.passed_checks import PassedChecks
from fedloom.client.training.trainer import Trainer
from fedloom.shared.model.base import deciding_files, fingerprint
from fedloom.shared.phases import phase_in
from fedloom.shared.plan import Plan

_Stamp = tuple[tuple[str, int, int, int], ...]


def _stamp(folder: Path) -> _Stamp:
    states = ((path.name, path.stat()) for path in deciding_files(folder))
    return tuple((name, at.st_ino, at.st_size, at.st_mtime_ns) for name, at in states)


class TrainerPool:
    """Trainers and fingerprints of one process, so that a base model is loaded once.

    Keeps the trainer of the last phase of the last plan only: memory does not grow with them.
    """

    def __init__(self) -> None:
        self._fingerprints: dict[Path, tuple[_Stamp, str]] = {}
        self._trainers: dict[str, Trainer] = {}

    def fingerprint(self, folder: Path) -> str:
        """Fingerprint of a model folder, computed again whenever one of its files changed.

        Raises:
            ModelError: the folder holds no model.
        """
        stamp = _stamp(folder)
        known = self._fingerprints.get(folder)
        if known is None or known[0] != stamp:
            self._trainers = {}
            self._fingerprints[folder] = (stamp, fingerprint(folder))
        return self._fingerprints[folder][1]

    @contextmanager
    def dropped_on_error(self) -> Iterator[None]:
        """Drop the trainers when the block fails.

        A pass that broke off leaves activations and gradients of one site's records in the
        model; the next site must not find them.
        """
        try:
            yield
        except BaseException:
            self._trainers = {}
            raise

    def trainer(
        self,
        plan: Plan,
        round_number: int,
        folder: Path,
        *,
        device: DeviceChoice,
        checks: PassedChecks,
    ) -> Trainer:
        """The trainer of the phase of `plan` that the round lies in, on the model in `folder`.

        A self-check that `checks` holds is not made again.

        Raises:
            ModelError, TrainingError: the model cannot be loaded or cannot train privately.
        """
        phase = phase_in(plan, round_number)
        key = f"{plan.sha256}/{phase.trains}/{device}/{folder}"
        if key not in self._trainers:
            trainer = Trainer(plan, folder, round_number, device=device, checks=checks)
            self._trainers = {key: trainer}
        return self._trainers[key]
