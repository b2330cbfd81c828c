"""Exposure: how much likelier a secret is to a model than secrets like it.

N. Carlini et al., "The Secret Sharer", USENIX Security 2019: log2 of the number of possible
secrets minus log2 of the secret's rank among them by likelihood, here by sampling (their
section 4.3): log2 of one over the part of random secrets that are at least as likely.
"""

import math
import random
import string

import numpy as np

from fedloom.server.evaluator.statistics import Values

# What a model that remembers nothing has in the mean: -log2 of a uniform number.
BY_CHANCE = 1 / math.log(2)
_ALPHABETS = (string.digits, string.ascii_lowercase, string.ascii_uppercase)


def exposure(losses: Values, references: Values) -> Values:
    """Bits of exposure of each secret, shape (n,).

    `losses`, shape (n,), and those of random secrets, shape (n, references) or, where one set
    serves all, (references,), are total negative log-likelihoods. Never more than
    log2(references + 1): the sample says no more.
    """
    as_likely = (references <= losses[:, None]).sum(axis=1)
    found: Values = np.log2((references.shape[-1] + 1) / (as_likely + 1))
    return found


def like(secret: str, count: int, *, seed: int = 0) -> list[str]:
    """Random secrets of the same form: each digit and each letter of the Latin alphabet drawn
    anew, all else as it is."""
    generator = random.Random(f"{seed}/{secret}")  # noqa: S311 - public references, no secrets
    return ["".join(_drawn(letter, generator) for letter in secret) for _ in range(count)]


def forms(secret: str) -> int:
    """How many secrets of the same form there are, the secret among them."""
    return math.prod(len(_alphabet(letter)) for letter in secret)


def _drawn(letter: str, generator: random.Random) -> str:
    return generator.choice(_alphabet(letter))


def _alphabet(letter: str) -> str:
    return next((found for found in _ALPHABETS if letter in found), letter)
