"""The site's end of its line to a coordinator: what it asks is checked, what is answered signed."""

from dataclasses import dataclass

from fedloom.shared.errors import SiteRefusal
from fedloom.shared.keys import SigningKey
from fedloom.shared.wire.envelope import Envelope
from fedloom.shared.wire.signed import asked_digest, is_asked_by, sign_answer

LINK_KEY = "link.key"


@dataclass(frozen=True, kw_only=True)
class Link:
    """`coordinator` is its public key, `key` the site's own for answers.

    Guarantee: with a link, a site trains only on what the holder of the coordinator's key
    signed, and before it expired; whoever holds Flower's server, a node or the network cannot
    make it train. Nothing is signed for a question that is not the coordinator's: a relay could
    pass it off as the answer to one that is. The key for answers is not the ledger's: a kit may
    have brought it, and a ledger's never leaves.
    """

    coordinator: str
    key: SigningKey

    def check(self, asked: Envelope) -> None:
        """Make sure that the coordinator asks this, and now.

        Raises:
            SiteRefusal: it is unsigned, signed by another, or an old one.
        """
        if not self._is_own(asked):
            found = "another signature" if asked.signature else "none"
            raise SiteRefusal(
                "coordinator-signature", asked=found, allowed=f"key {self.coordinator[:12]}…"
            )
        if asked.stamp is None or asked.stamp.is_over:
            raise SiteRefusal("expired", asked="an old question", allowed="one asked of late")

    def sign(self, answer: Envelope, asked: Envelope) -> Envelope:
        """The answer, signed for this question alone; as it is where the coordinator asks not."""
        if not self._is_own(asked):
            return answer
        return sign_answer(answer, asked_digest(asked), self.key)

    def _is_own(self, asked: Envelope) -> bool:
        return is_asked_by(asked, self.coordinator)
