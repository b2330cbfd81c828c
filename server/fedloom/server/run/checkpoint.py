"""Checkpoints: the global adapter after each round, whole or absent."""

import hashlib
import json
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from fedloom.shared.adapter import Adapter
from fedloom.shared.errors import CheckpointError
from fedloom.shared.files import write_durably

_DIGEST_BYTES = 32


def checkpoint_path(folder: Path, round_number: int) -> Path:
    """File of one round; round 0 is the start."""
    return folder / f"round-{round_number:04d}.ckpt"


def write_checkpoint(folder: Path, round_number: int, adapter: Adapter, plan_sha256: str) -> None:
    """Durably write the adapter after `round_number`: a SHA-256, then a safetensors body."""
    facts = {"plan": plan_sha256, "round": str(round_number)}
    body = save(adapter.state(), metadata=facts)
    content = hashlib.sha256(body).digest() + body
    write_durably(checkpoint_path(folder, round_number), content)


def read_checkpoint(folder: Path, round_number: int, plan_sha256: str) -> Adapter:
    """The adapter after `round_number`.

    Raises:
        CheckpointError: missing, truncated, altered, or of another plan or round.
    """
    path = checkpoint_path(folder, round_number)
    if not path.is_file():
        raise CheckpointError(f"checkpoint {path}: missing, expected round {round_number}")
    content = path.read_bytes()
    digest, body = content[:_DIGEST_BYTES], content[_DIGEST_BYTES:]
    if hashlib.sha256(body).digest() != digest:
        raise CheckpointError(f"checkpoint {path}: truncated or altered, its hash does not match")
    try:
        state = load(body)
    except SafetensorError as error:
        raise CheckpointError(f"checkpoint {path}: no safetensors content") from error
    facts = _facts(body)
    if facts.get("plan") != plan_sha256 or facts.get("round") != str(round_number):
        raise CheckpointError(f"checkpoint {path}: of another plan or round")
    return Adapter.from_state({name: np.asarray(values) for name, values in state.items()})


def latest_checkpoint(
    folder: Path, plan_sha256: str, *, needed: int = 1
) -> tuple[int, Adapter] | None:
    """The newest whole checkpoint with its round, or None when there is none at all.

    The `needed` - 1 before it, as far as there are rounds, are whole too.

    A damaged newest one is passed over for the round before: asking the sites for that round
    again returns their sealed updates, so nothing is spent twice.

    Raises:
        CheckpointError: there are checkpoints, and none is whole.
    """
    rounds = _numbers(folder)
    fault: CheckpointError | None = None
    for round_number in reversed(rounds):
        try:
            for before in range(max(0, round_number - needed + 1), round_number):
                read_checkpoint(folder, before, plan_sha256)
            return round_number, read_checkpoint(folder, round_number, plan_sha256)
        except CheckpointError as error:
            fault = error
    if fault is not None:
        raise fault
    return None


def latest_number(folder: Path) -> int:
    """The newest round that has a checkpoint, whole or not; 0 where there is none."""
    return max(_numbers(folder), default=0)


def _numbers(folder: Path) -> list[int]:
    return sorted(int(path.stem.split("-")[1]) for path in folder.glob("round-*.ckpt"))


def _facts(body: bytes) -> dict[str, str]:
    # The header was checked by safetensors, whose reader does not hand out its metadata.
    length = int.from_bytes(body[:8], "little")
    facts: dict[str, str] = json.loads(body[8 : 8 + length]).get("__metadata__", {})
    return facts
