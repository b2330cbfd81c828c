"""Signatures from end to end: a coordinator signs what it asks, a site signs what it answers.

Between the two stand Flower's server, its nodes, a proxy and the site's own relay. None of them
holds a key, so none can alter a task, make one up, or give one answer for another.

Guarantee: a signed task is bound to all that is in it, plan hash, site and round included, and
good until its stamp ends. A signed answer is bound to the very question it answers, so that no
other round, plan, adapter, site or federation can take it, and no later asking of the same
(`wire.stamp`). Assumes Ed25519 (RFC 8032), SHA-256, and that each party knows the other's public
key from its kit.
"""

import hashlib
from dataclasses import replace

from fedloom.shared.keys import SigningKey
from fedloom.shared.signing import is_signed
from fedloom.shared.wire.envelope import Envelope
from fedloom.shared.wire.stamp import Stamp


def asked_digest(asked: Envelope) -> str:
    """Names a question: what a coordinator's signature covers."""
    return _digest("fedloom-asked-1", asked)


def answered_digest(answer: Envelope, asked: str) -> str:
    """Names an answer to the question with digest `asked`: what a site's signature covers."""
    return _digest("fedloom-answered-1", answer, asked)


def sign_asked(asked: Envelope, key: SigningKey, *, seconds: float) -> Envelope:
    """The question, stamped for `seconds`, with the coordinator's signature."""
    stamped = replace(asked, stamp=Stamp.fresh(seconds=seconds))
    return replace(stamped, signature=key.sign(asked_digest(stamped)))


def sign_answer(answer: Envelope, asked: str, key: SigningKey) -> Envelope:
    """The answer with the site's signature."""
    return replace(answer, signature=key.sign(answered_digest(answer, asked)))


def is_asked_by(asked: Envelope, public_key: str) -> bool:
    """Whether the holder of `public_key` asks this."""
    return is_signed(asked_digest(asked), asked.signature or "", public_key)


def is_answered_by(answer: Envelope, asked: str, public_key: str) -> bool:
    """Whether the holder of `public_key` answers this to the question with digest `asked`."""
    return is_signed(answered_digest(answer, asked), answer.signature or "", public_key)


def _digest(purpose: str, envelope: Envelope, *bound: str) -> str:
    frame = envelope.frame
    beside = (each.model_dump_json() if each else "" for each in (envelope.head, envelope.stamp))
    texts = (frame.header, *beside)
    parts = [hashlib.sha256(text.encode()).hexdigest() for text in texts]
    parts.append(hashlib.sha256(frame.payload).hexdigest())
    return hashlib.sha256("\n".join((purpose, *parts, *bound)).encode()).hexdigest()
