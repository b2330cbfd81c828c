"""Who asks, and whose answers count: by signatures in a deployment, by trust in a simulation."""

from collections.abc import Mapping
from typing import Protocol

from fedloom.shared.keys import SigningKey
from fedloom.shared.wire.envelope import Envelope
from fedloom.shared.wire.signed import is_answered_by, sign_asked


class Parties(Protocol):
    """The coordinator's side of every line to a site."""

    def asked(self, question: Envelope, *, seconds: float) -> Envelope:
        """The question as the coordinator sends it, to be answered within `seconds`."""

    def is_from(self, site: str, answer: Envelope, asked: str) -> bool:
        """Whether `site` gave this answer to the question with digest `asked`."""


class TrustedParties:
    """Sites that run in the coordinator's own process, or under its own hand: nothing is signed."""

    def asked(self, question: Envelope, *, seconds: float) -> Envelope:
        """As it is."""
        return question

    def is_from(self, site: str, answer: Envelope, asked: str) -> bool:
        """Each answer is taken as it comes."""
        return True


class SignedParties:
    """Parties that know each other by their Ed25519 keys.

    Guarantee: an answer counts only if the key of that very site signed it for that very
    question (`shared.wire.signed`); a site that has no key here never counts.
    """

    def __init__(self, key: SigningKey, sites: Mapping[str, str]) -> None:
        self._key = key
        self._sites = dict(sites)

    def asked(self, question: Envelope, *, seconds: float) -> Envelope:
        """With a stamp and the coordinator's signature."""
        return sign_asked(question, self._key, seconds=seconds)

    def is_from(self, site: str, answer: Envelope, asked: str) -> bool:
        """Whether the site's key signed it for this question."""
        public = self._sites.get(site)
        return public is not None and is_answered_by(answer, asked, public)
