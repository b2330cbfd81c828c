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
    signed; whoever holds Flower's server, a node or the network cannot make it train. The key
    for answers is not the ledger's: a kit may have brought it, and a ledger's never leaves.
    """

    coordinator: str
    key: SigningKey

    def check(self, asked: Envelope) -> None:
        """Make sure that the coordinator asks this.

        Raises:
            SiteRefusal: it is unsigned, or signed by another.
        """
        if not is_asked_by(asked, self.coordinator):
            found = "another signature" if asked.signature else "none"
            raise SiteRefusal(
                "coordinator-signature", asked=found, allowed=f"key {self.coordinator[:12]}…"
            )

    def sign(self, answer: Envelope, asked: Envelope) -> Envelope:
        """The answer, signed for this question alone."""
        return sign_answer(answer, asked_digest(asked), self.key)
