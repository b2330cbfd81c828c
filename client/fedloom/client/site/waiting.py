"""Plans that a coordinator asked for and that wait for a steward."""

from collections.abc import Iterable
from pathlib import Path

from fedloom.shared.files import OWNER_ONLY, make_folder, remove_durably, write_durably
from fedloom.shared.plan import Plan

_MOST_WAITING, _MOST_BYTES = 32, 2**20


class WaitingPlans:
    """The plans that wait, in a folder of the owner's alone.

    Guarantee: a coordinator that sends one plan after another fills no disk. Where there is no
    room, the newest is turned away: if the oldest had to go, a flood could drive out the plan
    that a steward is just looking at, and have another one signed in its place.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def keep(self, plan: Plan) -> bool:
        """Let it wait; whether it does."""
        path, content = self._file(plan.sha256), plan.canonical()
        if path.exists():
            return True
        if len(list(self.names())) >= _MOST_WAITING or len(content) > _MOST_BYTES:
            return False
        make_folder(self._folder)
        write_durably(path, content, mode=OWNER_ONLY)
        return True

    def names(self) -> Iterable[str]:
        """The SHA-256 of each, also of one that cannot be read."""
        return sorted(path.stem for path in self._folder.glob("*.plan"))

    def read(self, sha256: str) -> Plan:
        """One that waits.

        Raises:
            PlanError: its file is damaged.
        """
        return Plan.from_canonical(self._file(sha256).read_bytes(), sha256=sha256)

    def drop(self, sha256: str) -> None:
        """It waits no longer, also after a crash."""
        remove_durably(self._file(sha256))

    def _file(self, sha256: str) -> Path:
        return self._folder / f"{sha256}.plan"
