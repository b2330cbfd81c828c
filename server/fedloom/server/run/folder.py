"""The run folder: what lies where, and who may write."""

import fcntl
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from fedloom.shared.config.release import ReleaseSection
from fedloom.shared.errors import RunFolderError
from fedloom.shared.files import write_durably
from fedloom.shared.plan import Plan

_LOCK_SECONDS = 1.0
_NOTHING: Mapping[Path, str] = MappingProxyType({})


@dataclass(frozen=True)
class RunFolder:
    """Paths of one run."""

    path: Path

    @property
    def plan(self) -> Path:
        """The frozen plan, for people and for `--resume`."""
        return self.path / "plan.toml"

    @property
    def release(self) -> Path:
        """What was promised of the adapter when the run began."""
        return self.path / "release.toml"

    @property
    def suite(self) -> Path:
        """The suite of audits that the run began with, if it began with one."""
        return self.path / "suite.toml"

    @property
    def rounds(self) -> Path:
        """Journal: one line of JSON for each durable round."""
        return self.path / "rounds.jsonl"

    @property
    def checkpoints(self) -> Path:
        """One file for each round, the start included."""
        return self.path / "checkpoints"

    @property
    def heads(self) -> Path:
        """The newest head of each site's ledger that came with an update."""
        return self.path / "heads.json"

    @property
    def budgets(self) -> Path:
        """What each site said last is left of its budget."""
        return self.path / "budgets.json"

    @property
    def adapter(self) -> Path:
        """The result, a PEFT folder."""
        return self.path / "adapter"

    @property
    def evaluation(self) -> Path:
        """What the suite of audits measured of the result."""
        return self.path / "evaluation.json"

    @property
    def evaluations(self) -> Path:
        """What it measured after rounds, and findings that are kept for the next time."""
        return self.path / "evaluations"

    @property
    def report_json(self) -> Path:
        """The typed report."""
        return self.path / "report.json"

    @property
    def report_html(self) -> Path:
        """The report as a page."""
        return self.path / "report.html"

    @property
    def compliance(self) -> Path:
        """What a data-protection impact assessment asks for."""
        return self.path / "compliance.json"

    @property
    def report_markdown(self) -> Path:
        """The report in short, for a terminal or a ticket."""
        return self.path / "report.md"

    def refuse_existing(self) -> None:
        """Make sure that a run may begin here.

        Raises:
            RunFolderError: something is there already; a run is never overwritten.
        """
        if self.path.exists() and any(self.path.iterdir()):
            raise RunFolderError(
                f"run folder {self.path}: exists already, expected a new one (or --resume)"
            )

    def create(
        self,
        plan: Plan,
        release: ReleaseSection | None = None,
        *,
        asked: Mapping[Path, str] = _NOTHING,
    ) -> None:
        """Make the folder with its plan, with what is promised of the adapter, and with what else
        was asked of the run: the text of each file.

        Raises:
            RunFolderError: something is there already; a run is never overwritten.
        """
        self.refuse_existing()
        self.checkpoints.mkdir(parents=True, exist_ok=True)
        write_durably(self.release, (release or ReleaseSection()).to_toml().encode())
        for path, text in asked.items():
            write_durably(path, text.encode())
        # Last: where it is, the run has begun.
        write_durably(self.plan, plan.to_toml().encode())

    def read_plan(self) -> Plan:
        """The plan of an existing run.

        Raises:
            RunFolderError: the folder holds no run.
            PlanError: the plan file is damaged.
        """
        if not self.plan.is_file():
            raise RunFolderError(f"run folder {self.path}: no plan.toml, expected a run to resume")
        return Plan.from_toml(self.plan.read_text(encoding="utf-8"))

    @contextmanager
    def locked(self, by: str = "") -> Iterator[None]:
        """Keep other processes out while this one writes; `by` stays to be read afterwards.

        Raises:
            RunFolderError: another process runs here.
        """
        descriptor = os.open(self._lock, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            self._take(descriptor)
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, by.encode(), 0)
            yield
        finally:
            os.close(descriptor)

    def left_by(self) -> str | None:
        """Who held the folder last, if nobody does now."""
        try:
            descriptor = os.open(self._lock, os.O_RDONLY)
        except FileNotFoundError:
            return None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
            return os.read(descriptor, 100).decode(errors="replace")
        except BlockingIOError:
            return None
        finally:
            os.close(descriptor)

    @property
    def _lock(self) -> Path:
        return self.path / ".lock"

    def _take(self, descriptor: int) -> None:
        # Whoever only looks who holds it does so for a moment.
        end = time.monotonic() + _LOCK_SECONDS
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                if time.monotonic() > end:
                    raise RunFolderError(
                        f"run folder {self.path}: in use by another process"
                    ) from error
                time.sleep(_LOCK_SECONDS / 20)
            else:
                return
