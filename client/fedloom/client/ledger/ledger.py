"""The ledger of one dataset: charge, seal, answer again; durable before anything noised exists.

What was reserved counts as spent until a steward voids it. A reservation without a release means
that training broke off; nothing left, so the same task trains again under the same reservation,
with the same key: it draws what the first attempt drew, also after it was voided. With fresh
draws, a server that makes attempts fail would choose among many for the price of one.
"""

import fcntl
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fedloom.client.ledger.chain import Chain, Signed, read_chain
from fedloom.client.ledger.entries import Charge, Entry, Opening, digest_of
from fedloom.client.ledger.spending import Spent, spent_of
from fedloom.client.ledger.store import LedgerStore
from fedloom.client.ledger.transaction import Transaction
from fedloom.client.ledger.writing import entry_after, opening_of
from fedloom.client.training.randomness import KEY_BYTES
from fedloom.shared.errors import LedgerError, SiteRefusal
from fedloom.shared.files import OWNER_ONLY, make_folder
from fedloom.shared.keys import SigningKey, read_key
from fedloom.shared.wire.frame import Frame
from fedloom.shared.wire.heads import LedgerHead, signed_of
from fedloom.shared.wire.messages import TrainTask

_FILE, _KEY, _LOCK = "ledger.sqlite", "site.key", "lock"


class Ledger:
    """The ledger of one dataset in one folder; only one process at a time may hold it.

    Guarantee: no method returns or writes anything before the whole chain, its signatures and
    the order of its events were checked; what a method has written is on disk, signed, when it
    returns, and whole or not at all whatever dies meanwhile. A ledger is begun once, together
    with its key; if either is gone it is lost, not begun anew. Assumes that who can write the
    key's file is trusted.
    """

    def __init__(self, folder: Path, passphrase: bytes | None = None) -> None:
        self._folder = folder
        self._passphrase = passphrase
        self._store = LedgerStore(folder / _FILE)

    @contextmanager
    def held(self, *, site: str | None = None) -> Iterator[None]:
        """Hold the dataset for the length of one task.

        With `site`, a folder that never had a ledger gets one of that name.

        Raises:
            SiteRefusal: another process holds it.
            LedgerError: the ledger or its key is lost.
        """
        if site is not None:
            make_folder(self._folder)
        elif not self.exists:
            raise LedgerError(
                f"{self._folder}: no ledger's key, expected the site's state as it was last; put "
                "its newest copy back"
            )
        descriptor = os.open(self._folder / _LOCK, os.O_RDWR | os.O_CREAT, OWNER_ONLY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(descriptor)
            raise SiteRefusal("busy", asked="a second task", allowed="one at a time") from error
        try:
            if site is not None and not self.exists:
                self._begin(site)
            yield
        finally:
            os.close(descriptor)

    @property
    def exists(self) -> bool:
        """Whether it was begun."""
        return (self._folder / _KEY).exists()

    def signer(self) -> SigningKey:
        """The site's key.

        Raises:
            LedgerError: lost, locked, or readable by others.
        """
        return read_key(self._folder / _KEY, self._passphrase)

    def chain(self) -> Chain:
        """The whole ledger.

        Raises:
            LedgerError: lost, damaged or tampered with; a person must look before training.
        """
        with self._checked() as (_, chain, _key):
            return chain

    def entries(self) -> tuple[Entry, ...]:
        """All events of charges."""
        return self.chain().entries

    def head(self) -> LedgerHead:
        """The last entry."""
        with self._checked() as (_, chain, signer):
            number, digest = chain.length, chain.head.digest
        signature = signer.sign(signed_of(number, digest))
        return LedgerHead(
            public_key=signer.public, number=number, digest=digest, signature=signature
        )

    def signed(self) -> list[Signed]:
        """All entries as they are kept."""
        with self._checked() as (now, _, _key):
            return now.entries()

    def check_remembered(self, head: LedgerHead) -> None:
        """Make sure that the ledger goes on from a head that a coordinator remembers.

        Raises:
            SiteRefusal: the head is not this ledger's own, or the ledger is an older copy;
                training on from it would spend again what its lost entries have spent.
        """
        with self._checked() as (now, chain, _):
            kept = now.entries()
        if head.public_key != chain.opening.public_key or not head.is_signed:
            raise SiteRefusal("ledger-head", asked="a head of another key", allowed="our own")
        if len(kept) < head.number or kept[head.number - 1].digest != head.digest:
            allowed = f"this copy has {len(kept)}; expected the newest copy"
            raise SiteRefusal("ledger-behind", asked=f"entry {head.number}", allowed=allowed)

    def spent(self, *, but_task: str | None = None) -> Spent:
        """Everything charged so far, optionally without what one task was charged."""
        return spent_of(self.chain().story, but_task=but_task)

    def sealed(self, task: TrainTask) -> Frame | None:
        """The update that this very task was answered with, or None.

        Raises:
            SiteRefusal: the plan's round was charged, but for another starting adapter; a
                second answer would be a second release.
            LedgerError: the kept update is not the one that the ledger names.
        """
        with self._checked() as (now, chain, _):
            found = chain.story.task_of(task.plan.sha256, task.round)
            if found not in (None, task.sha256):
                raise SiteRefusal("round-answered", asked=task.round, allowed="once")
            last = chain.story.last(task.sha256)
            return _kept(now, last) if last is not None and last.event == "released" else None

    def reserve(self, charge: Charge) -> None:
        """Charge a round and make the key of its draws, unless this very task is charged.

        Raises:
            LedgerError: the round is charged for another task.
        """
        with self._checked() as (now, chain, signer):
            found = chain.story.task_of(charge.plan, charge.round)
            if found == charge.task:
                return
            if found is not None:
                raise LedgerError(f"ledger: round {charge.round} is charged for another task")
            key = now.draw_key(charge.task)
            if key is None:
                key = os.urandom(KEY_BYTES)
                now.keep_draw_key(charge.task, key)
            draws = hashlib.sha256(key).hexdigest()
            _append(now, chain, signer, entry_after(chain, "reserved", charge, draws=draws))

    def draw_key(self, charge: Charge) -> bytes:
        """The key of all that a reserved task draws.

        Raises:
            LedgerError: the task is not reserved, or the key is not the one it was reserved with.
        """
        with self._checked() as (now, chain, _):
            last, key = chain.story.last(charge.task), now.draw_key(charge.task)
        if last is None or last.event != "reserved" or key is None:
            raise LedgerError(f"ledger: task {charge.task[:12]} has no key, expected a reservation")
        if hashlib.sha256(key).hexdigest() != last.draws:
            raise LedgerError(f"ledger: the key of entry {last.number} is not as it was reserved")
        return key

    def seal(self, charge: Charge, frame: Frame) -> None:
        """Keep the update, mark the charge as released, and forget its key, all at once.

        With the key, whoever has the update could take its noise off again.

        Raises:
            LedgerError: the charge is not reserved.
        """
        with self._checked() as (now, chain, signer):
            entry = entry_after(chain, "released", charge, sealed=frame.sha256)
            _append(now, chain, signer, entry)
            now.seal(charge.task, frame.header, frame.payload)
            now.forget_draw_key(charge.task)

    def void(self, task_sha256: str) -> Charge:
        """Take back a reservation whose update was not released: a steward's decision.

        The key of its draws stays: the task, should it come again, is charged anew and draws
        the same.

        Raises:
            LedgerError: there is no such reservation, or its update was released.
        """
        with self._checked() as (now, chain, signer):
            charge = chain.story.open_charge(task_sha256)
            if charge is None:
                last = chain.story.last(task_sha256)
                found = "not in it" if last is None else f"{last.event} already"
                raise LedgerError(f"ledger: task {task_sha256}: {found}, expected a reserved one")
            _append(now, chain, signer, entry_after(chain, "voided", charge))
            return charge

    @contextmanager
    def _checked(self) -> Iterator[tuple[Transaction, Chain, SigningKey]]:
        signer = self.signer()
        with self._store.transaction() as now:
            yield now, read_chain(now.entries(), signer.public), signer

    def _begin(self, site: str) -> None:
        signer, path = SigningKey.generate(), self._folder / _FILE
        # The key comes last: with a ledger and no key, nothing was charged yet, or it is lost.
        if path.exists():
            with self._store.transaction() as now:
                if len(now.entries()) > 1:
                    raise LedgerError(f"key {self._folder / _KEY}: lost, expected the ledger's own")
            path.unlink()
        self._store.create(_signed(signer, opening_of(site, signer.public)))
        signer.keep(self._folder / _KEY, self._passphrase)


def _append(now: Transaction, chain: Chain, signer: SigningKey, entry: Entry) -> None:
    chain.story.add(entry)
    now.append(entry.number, _signed(signer, entry))


def _signed(signer: SigningKey, entry: Entry | Opening) -> Signed:
    body = entry.canonical()
    return Signed(body=body, signature=signer.sign(digest_of(body)))


def _kept(now: Transaction, entry: Entry) -> Frame:
    found = now.sealed(entry.charge.task)
    frame = None if found is None else Frame(header=found[0], payload=found[1])
    if frame is None or frame.sha256 != entry.sealed:
        raise LedgerError(f"ledger: the update of entry {entry.number} is not as it was sealed")
    return frame
