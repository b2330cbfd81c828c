"""The ledger of one dataset: charge, seal, answer again; durable before anything noised exists.

What was reserved counts as spent until a steward voids it. A reservation without a release means
that training broke off; nothing left, so the same task trains again under the same reservation,
with the same key: it draws what the first attempt drew. With fresh draws, a server that makes
attempts fail would choose among many for the price of one.
"""

import fcntl
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from fedloom.client.ledger.chain import Signed, read_chain
from fedloom.client.ledger.entries import BEGINNING, Charge, Entry, digest_of
from fedloom.client.ledger.keys import SiteKey, make_key, read_key
from fedloom.client.ledger.spending import Spent, spent_of, standing
from fedloom.client.ledger.store import LedgerStore, Transaction
from fedloom.client.training.randomness import KEY_BYTES
from fedloom.shared.errors import LedgerError, SiteRefusal
from fedloom.shared.wire.frame import Frame
from fedloom.shared.wire.heads import LedgerHead
from fedloom.shared.wire.messages import TrainTask

_OWNER_ONLY = 0o600
_FILE, _KEY, _LOCK = "ledger.sqlite", "site.key", "lock"


class Ledger:
    """The ledger of one dataset in one folder; only one process at a time may hold it.

    Guarantee: every method that reads has checked the whole chain and all signatures first;
    what a method has written is on disk, signed, when it returns, and whole or not at all
    whatever dies meanwhile. Assumes that the folder and the key are kept.
    """

    def __init__(self, folder: Path, *, passphrase: bytes | None = None) -> None:
        self._folder = folder
        self._store = LedgerStore(folder / _FILE)
        self._passphrase = passphrase
        self._signer: SiteKey | None = None

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold the dataset for the length of one task.

        Raises:
            SiteRefusal: another process holds it.
        """
        self._make_folder()
        descriptor = os.open(self._folder / _LOCK, os.O_RDWR | os.O_CREAT, _OWNER_ONLY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(descriptor)
            raise SiteRefusal("busy", asked="a second task", allowed="one at a time") from error
        try:
            yield
        finally:
            os.close(descriptor)

    @property
    def public_key(self) -> str:
        """What the ledger is verified by, in hex."""
        return self._key().public

    def signed(self) -> list[Signed]:
        """All entries as they are kept, unchecked."""
        with self._transaction() as now:
            return now.entries()

    def entries(self) -> list[Entry]:
        """All entries.

        Raises:
            LedgerError: damaged or tampered with; a person must look before training.
        """
        return read_chain(self.signed(), self.public_key)

    def head(self) -> LedgerHead | None:
        """The last entry; None of an empty ledger."""
        kept = self.signed()
        if not kept:
            return None
        last, key = kept[-1], self.public_key
        return LedgerHead(
            public_key=key, number=len(kept), digest=last.digest, signature=last.signature
        )

    def check_remembered(self, head: LedgerHead) -> None:
        """Make sure that the ledger goes on from a head that a coordinator remembers.

        Raises:
            SiteRefusal: the head is not this ledger's own, or the ledger is an older copy;
                training on from it would spend again what its lost entries have spent.
        """
        if head.public_key != self.public_key or not head.is_signed:
            raise SiteRefusal("ledger-head", asked="a head of another key", allowed="our own")
        kept = self.signed()
        if len(kept) < head.number or kept[head.number - 1].digest != head.digest:
            allowed = f"this copy has {len(kept)}; expected the newest copy"
            raise SiteRefusal("ledger-behind", asked=f"entry {head.number}", allowed=allowed)

    def spent(self, *, except_plan: str | None = None) -> Spent:
        """Everything reserved so far, optionally without one plan's charges."""
        return spent_of(self.entries(), except_plan=except_plan)

    def sealed(self, task: TrainTask) -> Frame | None:
        """The update that this very task was answered with, or None.

        Raises:
            SiteRefusal: the plan's round was charged, but for another starting adapter; a
                second answer would be a second release.
            LedgerError: the kept update is not the one that the ledger names.
        """
        for entry in standing(self.entries()):
            if (entry.charge.plan, entry.charge.round) != (task.plan.sha256, task.round):
                continue
            if entry.charge.task != task.sha256:
                raise SiteRefusal("round-answered", asked=task.round, allowed="once")
            return None if entry.event == "reserved" else self._kept(entry)
        return None

    def reserve(self, charge: Charge) -> None:
        """Charge a round and make the key of its draws, unless the same task is charged."""
        with self._transaction() as now:
            held = standing(read_chain(now.entries(), self.public_key))
            if all(entry.charge.task != charge.task for entry in held):
                self._append(now, "reserved", charge)
                now.keep_draw_key(charge.task, os.urandom(KEY_BYTES))

    def draw_key(self, charge: Charge) -> bytes:
        """The key of all that a reserved task draws.

        Raises:
            LedgerError: the task is not reserved.
        """
        with self._transaction() as now:
            key = now.draw_key(charge.task)
        if key is None:
            raise LedgerError(f"ledger: task {charge.task[:12]} has no key, expected a reservation")
        return key

    def seal(self, charge: Charge, frame: Frame) -> None:
        """Keep the update, mark the charge as released, and forget its key, all at once.

        With the key, whoever has the update could take its noise off again.
        """
        with self._transaction() as now:
            self._append(now, "released", charge, sealed=_digest(frame))
            now.seal(charge.task, frame.header, frame.payload)
            now.forget_draw_key(charge.task)

    def void(self, task_sha256: str) -> Charge:
        """Take back a reservation from which nothing can have left: a steward's decision.

        Its draws are forgotten; the task, should it come again, is charged anew.

        Raises:
            LedgerError: there is no such reservation, or its update was released.
        """
        with self._transaction() as now:
            held = standing(read_chain(now.entries(), self.public_key))
            found = [entry for entry in held if entry.charge.task == task_sha256]
            if not found or found[0].event != "reserved":
                raise LedgerError(f"ledger: task {task_sha256[:12]} is not reserved and unreleased")
            self._append(now, "voided", found[0].charge)
            now.forget_draw_key(task_sha256)
            return found[0].charge

    def _append(
        self,
        now: Transaction,
        event: Literal["reserved", "released", "voided"],
        charge: Charge,
        *,
        sealed: str | None = None,
    ) -> None:
        kept = now.entries()
        entry = Entry(
            number=len(kept) + 1,
            event=event,
            at=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            previous=kept[-1].digest if kept else BEGINNING,
            sealed=sealed,
            charge=charge,
        )
        body = entry.canonical()
        now.append(entry.number, Signed(body=body, signature=self._key().sign(digest_of(body))))

    def _kept(self, entry: Entry) -> Frame:
        with self._transaction() as now:
            found = now.sealed(entry.charge.task)
        frame = None if found is None else Frame(header=found[0], payload=found[1])
        if frame is None or _digest(frame) != entry.sealed:
            raise LedgerError(f"ledger: the update of entry {entry.number} is not as it was sealed")
        return frame

    @contextmanager
    def _transaction(self) -> Iterator[Transaction]:
        # First of all: a folder that has a ledger and no key has lost it.
        self._key()
        with self._store.transaction() as now:
            yield now

    def _key(self) -> SiteKey:
        """The site's key; a site that has no ledger yet gets one of its own."""
        if self._signer is None:
            self._make_folder()
            path = self._folder / _KEY
            fresh = not path.exists() and not (self._folder / _FILE).exists()
            make = make_key if fresh else read_key
            self._signer = make(path, passphrase=self._passphrase)
        return self._signer

    def _make_folder(self) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        self._folder.chmod(0o700)


def _digest(frame: Frame) -> str:
    digest = hashlib.sha256(len(frame.header.encode()).to_bytes(8, "big"))
    digest.update(frame.header.encode())
    digest.update(frame.payload)
    return digest.hexdigest()
