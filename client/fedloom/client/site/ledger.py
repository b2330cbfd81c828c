"""The site's memory of privacy spent: durable before anything noised exists.

One line of JSON for each event, appended and synced: `reserved` before training, `released`
once the update is sealed in a file beside it. What was reserved counts as spent for ever. A
reservation without a release means that training broke off; nothing left, so the same task trains
again under the same reservation, with the same key: it draws what the first attempt drew. With
fresh draws, a server that makes attempts fail would choose among many for the price of one.
"""

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from fedloom.client.training.randomness import KEY_BYTES
from fedloom.shared.errors import SiteRefusal, TrainingError
from fedloom.shared.files import append_durably, drop_cut_line, read_whole_lines, write_durably
from fedloom.shared.privacy.accounting import Mechanism
from fedloom.shared.wire.frame import Frame
from fedloom.shared.wire.messages import TrainTask

_OWNER_ONLY = 0o600


class Entry(BaseModel):
    """One line. `noise_multiplier` 0 marks a run without privacy, which no epsilon covers;
    neither does any cover `seeded` noise, which whoever knows the seed can take off again."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    event: Literal["reserved", "released"]
    task: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    plan: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    round: Annotated[int, Field(ge=1)]
    unit: str
    seeded: bool
    noise_multiplier: Annotated[float, Field(ge=0)]
    sample_rate: Annotated[float, Field(gt=0, le=1)]
    steps: Annotated[int, Field(ge=1)]


@dataclass(frozen=True, kw_only=True)
class Spent:
    """What the ledger holds: the private mechanisms, and all steps whether private or not.

    `units` are the privacy units that they were charged for. With `without_privacy`, no epsilon
    covers the whole any more; with `seeded`, none but a simulation's.
    """

    history: tuple[Mechanism, ...]
    steps: int
    units: frozenset[str]
    without_privacy: bool
    seeded: bool


class Ledger:
    """The ledger of one dataset in one folder; only one process at a time may hold it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._path = folder / "ledger.jsonl"

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold the dataset for the length of one task.

        Raises:
            SiteRefusal: another process holds it.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        self._folder.chmod(0o700)
        descriptor = os.open(self._folder / "lock", os.O_RDWR | os.O_CREAT, _OWNER_ONLY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(descriptor)
            raise SiteRefusal("busy", asked="a second task", allowed="one at a time") from error
        try:
            drop_cut_line(self._path)
            yield
        finally:
            os.close(descriptor)

    def entries(self) -> list[Entry]:
        """All whole lines.

        Raises:
            TrainingError: a line in the middle is damaged; a person must look before training.
        """
        try:
            return [Entry.model_validate_json(line) for line in read_whole_lines(self._path)]
        except ValidationError as error:
            raise TrainingError(f"{self._path}: damaged, expected whole ledger entries") from error

    def spent(self, *, except_plan: str | None = None) -> Spent:
        """Everything reserved so far, optionally without one plan's charges."""
        held = [entry for entry in self.entries() if entry.event == "reserved"]
        kept = [entry for entry in held if entry.plan != except_plan]
        history = tuple(
            Mechanism(
                noise_multiplier=entry.noise_multiplier,
                sample_rate=entry.sample_rate,
                steps=entry.steps,
            )
            for entry in kept
            if entry.noise_multiplier > 0
        )
        return Spent(
            history=history,
            steps=sum(entry.steps for entry in kept),
            units=frozenset(entry.unit for entry in kept),
            without_privacy=any(entry.noise_multiplier == 0 for entry in kept),
            seeded=any(entry.seeded for entry in kept),
        )

    def sealed(self, task: TrainTask) -> Frame | None:
        """The update that this very task was answered with, or None.

        Raises:
            SiteRefusal: the plan's round was answered, but for another starting adapter; a
                second answer would be a second release.
        """
        for entry in self.entries():
            if entry.plan == task.plan.sha256 and entry.round == task.round:
                if entry.event == "released" and entry.task == task.sha256:
                    # A crash may have come between the release and this.
                    self._key_path(entry.task).unlink(missing_ok=True)
                    return self._read_sealed(task.sha256)
                if entry.task != task.sha256:
                    raise SiteRefusal("round-answered", asked=task.round, allowed="once")
        return None

    def reserve(self, task: TrainTask, mechanism: Entry) -> None:
        """Charge a round, durably, unless the same task was charged before."""
        if all(entry.task != task.sha256 for entry in self.entries()):
            self._append(mechanism)

    def draw_key(self, charge: Entry) -> bytes:
        """The key of all that a reserved task draws: made once, durable before it is used."""
        path = self._key_path(charge.task)
        if not path.is_file():
            write_durably(path, os.urandom(KEY_BYTES), mode=_OWNER_ONLY)
        return path.read_bytes()

    def seal(self, charge: Entry, frame: Frame) -> None:
        """Keep the update, durably, mark the charge as released, and forget its key."""
        content = json.dumps({"header": frame.header}).encode() + b"\n" + frame.payload
        write_durably(self._sealed_path(charge.task), content, mode=_OWNER_ONLY)
        self._append(charge.model_copy(update={"event": "released"}))
        # With the key, whoever has the update could take its noise off again.
        self._key_path(charge.task).unlink(missing_ok=True)

    def _append(self, entry: Entry) -> None:
        append_durably(self._path, entry.model_dump_json().encode(), mode=_OWNER_ONLY)

    def _key_path(self, task_sha256: str) -> Path:
        return self._folder / "keys" / f"{task_sha256}.key"

    def _sealed_path(self, task_sha256: str) -> Path:
        return self._folder / "sealed" / f"{task_sha256}.update"

    def _read_sealed(self, task_sha256: str) -> Frame:
        header, _, payload = self._sealed_path(task_sha256).read_bytes().partition(b"\n")
        return Frame(header=json.loads(header)["header"], payload=payload)


def charge_of(task: TrainTask) -> Entry:
    """What one round of the task's plan costs at the task's site."""
    site = task.plan.site(task.site)
    return Entry(
        event="reserved",
        task=task.sha256,
        plan=task.plan.sha256,
        round=task.round,
        unit=task.plan.privacy.unit,
        seeded=task.plan.privacy.seeded,
        # A plan's word on noise means nothing when it trains without any.
        noise_multiplier=site.noise_multiplier if task.plan.privacy.private else 0.0,
        sample_rate=site.sample_rate,
        steps=task.plan.training.steps_in(task.round),
    )
