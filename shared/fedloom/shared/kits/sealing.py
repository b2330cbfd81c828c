"""Private keys under a passphrase, for a kit whose keys the site could not make itself."""

import secrets
from typing import Annotated

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt
from pydantic import Field

from fedloom.shared.config.values import Section
from fedloom.shared.errors import CredentialError

# RFC 7914; 128 MiB and about half a second for each guess.
_COST, _BLOCK, _LANES = 2**17, 8, 1
_NONCE_BYTES, _SALT_BYTES = 12, 16
# 31 letters: 24 of them are 118 bits, which nobody guesses. No letter looks like another.
_ALPHABET = "abcdefghjkmnpqrstuvwxyz23456789"
_LETTERS, _GROUP = 24, 4


class Sealed(Section):
    """AES-256-GCM (NIST SP 800-38D) under a key that scrypt draws from a passphrase; all hex."""

    salt: Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]
    nonce: Annotated[str, Field(pattern=r"^[0-9a-f]{24}$")]
    content: Annotated[str, Field(pattern=r"^([0-9a-f]{2}){16,8192}$")]


def new_passphrase() -> str:
    """Letters to be read out over a telephone, in groups."""
    letters = "".join(secrets.choice(_ALPHABET) for _ in range(_LETTERS))
    return "-".join(letters[at : at + _GROUP] for at in range(0, _LETTERS, _GROUP))


def seal(content: bytes, passphrase: str, *, bound: bytes) -> Sealed:
    """`content` for who has the passphrase; `bound` is what it opens beside, and no other."""
    salt, nonce = secrets.token_bytes(_SALT_BYTES), secrets.token_bytes(_NONCE_BYTES)
    sealed = AESGCM(_key(passphrase, salt)).encrypt(nonce, content, bound)
    return Sealed(salt=salt.hex(), nonce=nonce.hex(), content=sealed.hex())


def unseal(sealed: Sealed, passphrase: str, *, bound: bytes) -> bytes:
    """What was sealed.

    Raises:
        CredentialError: another passphrase, or something was altered.
    """
    key = _key(passphrase, bytes.fromhex(sealed.salt))
    content, nonce = bytes.fromhex(sealed.content), bytes.fromhex(sealed.nonce)
    try:
        return AESGCM(key).decrypt(nonce, content, bound)
    except InvalidTag as error:
        raise CredentialError(
            "kit: the passphrase does not open it, expected the one that came with this site's kit"
        ) from error


def _key(passphrase: str, salt: bytes) -> bytes:
    kdf = Scrypt(salt=salt, length=32, n=_COST, r=_BLOCK, p=_LANES)
    return kdf.derive(_letters(passphrase).encode())


def _letters(passphrase: str) -> str:
    # Whoever hears it over a telephone hears no hyphens, spaces or capitals.
    return "".join(each for each in passphrase.lower() if each.isalnum())
