"""A kit, what one site needs to join, and a request, what a site sends to get one."""

import hashlib
from pathlib import Path
from typing import Annotated, Literal, TypeVar

from pydantic import Field, ValidationError

from fedloom.shared.config.problems import explain
from fedloom.shared.config.values import Name, Section
from fedloom.shared.errors import CredentialError
from fedloom.shared.keys import SigningKey
from fedloom.shared.kits.node_key import NodeKey, is_signed_by_node
from fedloom.shared.kits.sealing import Sealed
from fedloom.shared.signing import is_signed

_MOST_BYTES = 256 * 1024
Hex64 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Signature = Annotated[str, Field(pattern=r"^[0-9a-f]{128}$")]
OpenSsh = Annotated[str, Field(pattern=r"^ecdsa-sha2-nistp384 [A-Za-z0-9+/=]{100,300}$")]
ServerAddress = Annotated[
    str, Field(pattern=r"^([A-Za-z0-9][A-Za-z0-9.-]{0,252}|\[[0-9a-fA-F:.]{2,45}\]):\d{1,5}$")
]


class PartyKeys(Section):
    """A site's two public keys: `link` (Ed25519) signs its answers, `node` is for Flower."""

    link: Hex64
    node: OpenSsh


class PrivateKeys(Section):
    """The two private keys, as texts, for a site that did not make them itself."""

    link: str
    node: str


class Kit(Section):
    """Where a federation's server is, how to know it, and who this site is there.

    `authority` is the certificate (PEM) that the server's own must come from, `coordinator` the
    key that signs tasks and bundles. `sealed` holds the site's private keys, if the site did not
    make them: then the coordinator has had them, and could answer in the site's name; it
    could not reach records, policy or ledger.
    """

    kind: Literal["fedloom-kit"] = "fedloom-kit"
    format: Literal[1] = 1
    federation: Name
    site: Name
    server: ServerAddress
    authority: Annotated[str, Field(max_length=20_000)]
    coordinator: Hex64
    keys: PartyKeys
    sealed: Sealed | None = None

    @property
    def bound(self) -> bytes:
        """What the sealed keys open beside: all of the kit but themselves."""
        return self.model_dump_json(exclude={"sealed"}).encode()

    @property
    def digest(self) -> str:
        """What the coordinator signs."""
        return hashlib.sha256(b"fedloom-kit-1\n" + self.model_dump_json().encode()).hexdigest()


class SignedKit(Section):
    """A kit with the signature of the coordinator that it names."""

    kit: Kit
    signature: Signature

    @classmethod
    def by(cls, kit: Kit, coordinator: SigningKey) -> "SignedKit":
        """Sign a kit."""
        return cls(kit=kit, signature=coordinator.sign(kit.digest))

    @property
    def is_whole(self) -> bool:
        """Whether nothing was altered; who the coordinator is, a person must compare."""
        return is_signed(self.kit.digest, self.signature, self.kit.coordinator)


class SiteRequest(Section):
    """A site's public keys, with a signature by each: who sends it has both."""

    kind: Literal["fedloom-site-request"] = "fedloom-site-request"
    format: Literal[1] = 1
    site: Name
    keys: PartyKeys
    link_signature: Signature
    node_signature: Annotated[str, Field(pattern=r"^[0-9a-f]{100,300}$")]

    @classmethod
    def by(cls, site: str, link: SigningKey, node: NodeKey) -> "SiteRequest":
        """Ask for a kit."""
        keys = PartyKeys(link=link.public, node=node.public)
        digest = _request_digest(site, keys)
        return cls(
            site=site,
            keys=keys,
            link_signature=link.sign(digest),
            node_signature=node.sign(digest),
        )

    @property
    def is_whole(self) -> bool:
        """Whether the holder of both keys asks, for this very name."""
        digest = _request_digest(self.site, self.keys)
        return is_signed(digest, self.link_signature, self.keys.link) and is_signed_by_node(
            digest, self.node_signature, self.keys.node
        )


def _request_digest(site: str, keys: PartyKeys) -> str:
    text = f"fedloom-site-request-1\n{site}\n{keys.link}\n{keys.node}"
    return hashlib.sha256(text.encode()).hexdigest()


_Document = TypeVar("_Document", SignedKit, SiteRequest)


def read_document(path: Path, kind: type[_Document], *, expected: str) -> _Document:
    """A kit or request that came from the other party.

    Raises:
        CredentialError: missing, too large, not such a document, or altered.
    """
    if not path.is_file():
        raise CredentialError(f"{path}: no such file, expected {expected}")
    if path.stat().st_size > _MOST_BYTES:
        raise CredentialError(f"{path}: above {_MOST_BYTES} bytes, expected {expected}")
    try:
        document = kind.model_validate_json(path.read_bytes())
    except ValidationError as error:
        raise CredentialError(f"{path}: not {expected}: {explain(error, kind)[0]}") from error
    if not document.is_whole:
        raise CredentialError(
            f"{path}: its signature does not fit its content, expected it as it was made"
        )
    return document
