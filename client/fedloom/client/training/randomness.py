"""Randomness that nobody outside the site can predict.

One AES-256 key in counter mode is expanded into uniforms and Gaussians. The key comes from the
operating system for every task, so no two tasks or sites share a draw. A seeded
simulation derives it from the plan's seed instead; the same code then draws repeatable numbers,
which protect nothing.
"""

import hashlib

import numpy as np
import torch
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from numpy.typing import NDArray

from fedloom.shared.wire.messages import TrainTask

KEY_BYTES = 32
# Gaussians drawn at once: what is in between stays in the processor's cache.
_PART = 2048


class Stream:
    """A cryptographically secure stream of random numbers under one 32-byte key."""

    def __init__(self, key: bytes) -> None:
        if len(key) != KEY_BYTES:
            raise ValueError(f"stream: key of {len(key)} bytes, expected {KEY_BYTES}")
        self._key = key
        self._cipher = Cipher(algorithms.AES(key), modes.CTR(bytes(16))).encryptor()

    def child(self, purpose: str) -> "Stream":
        """An independent stream for one purpose; the parent's position does not matter."""
        return Stream(hashlib.sha256(b"fedloom/" + purpose.encode() + self._key).digest())

    def uniform(self, count: int) -> NDArray[np.float64]:
        """`count` uniforms in [0, 1), multiples of 2^-53."""
        words = np.frombuffer(self._cipher.update(bytes(8 * count)), dtype="<u8")
        return (words >> np.uint64(11)).astype(np.float64) * 2.0**-53

    def normal(self, count: int) -> NDArray[np.float64]:
        """`count` standard Gaussians, shape (count,).

        Each is the sum of four independent ones over two: an observer of floating-point noise
        cannot invert it to the underlying uniforms (Holohan and Braghin 2021, section 4).
        """
        drawn = np.empty(count)
        for start in range(0, count, _PART):
            part = drawn[start : start + _PART]
            np.sum(self._gaussians(4 * len(part)).reshape(4, -1), axis=0, out=part)
        drawn /= 2.0
        return drawn

    def _gaussians(self, count: int) -> NDArray[np.float64]:
        """By Box and Muller, without their second value: no two share a uniform."""
        # 1 - u lies in (0, 1], so that the logarithm is finite.
        radius = np.sqrt(-2.0 * np.log(1.0 - self.uniform(count)))
        angle = 2.0 * np.pi * self.uniform(count)
        # torch's cosine in double precision takes a third of numpy's time.
        return np.asarray(radius * torch.from_numpy(angle).cos_().numpy())


def task_stream(task: TrainTask, key: bytes) -> Stream:
    """The stream for one training task, under the site's own `key` for it.

    With a seeded plan, a function of plan, site, round and start instead, which hides nothing.
    """
    seed = task.plan.privacy.noise_seed
    if seed is None:
        return Stream(key)
    return Stream(hashlib.sha256(f"seeded, not private/{seed}/{task.sha256}".encode()).digest())
