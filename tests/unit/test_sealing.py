"""Private keys on their way: for who was told the passphrase, and for this very kit."""

import math
import string
from collections.abc import Callable

import pytest

from fedloom.shared.errors import CredentialError
from fedloom.shared.keys import SigningKey
from fedloom.shared.kits import sealing
from fedloom.shared.kits.document import Kit
from fedloom.shared.kits.sealing import Sealed, new_passphrase, seal, unseal
from tests.support.kits import a_kit, quick

__all__ = ["quick"]
WORDS = "abcd-efgh-jkmn"


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(
    "heard",
    [WORDS, "ABCD-EFGH-JKMN\r\n", "abcd efgh jkmn", "abcdefghjkmn", " Abcd–efgh\tjkmn. "],
)
def test_a_passphrase_may_be_read_out_and_written_down(heard: str) -> None:
    """Over a telephone nobody hears a hyphen, a capital, or the end of a line."""
    assert unseal(seal(b"keys", WORDS, bound=b""), heard, bound=b"") == b"keys"


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("heard", ["", "-", "abcd-efgh-jkm", "abcd-efgh-jkmn2", "bacd-efgh-jkmn"])
def test_another_passphrase_opens_nothing(heard: str) -> None:
    with pytest.raises(CredentialError, match="passphrase does not open it"):
        unseal(seal(b"keys", WORDS, bound=b""), heard, bound=b"")


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(
    "other",
    [
        lambda kit: kit.model_copy(update={"site": "south"}),
        lambda kit: kit.model_copy(update={"server": "evil.example:9443"}),
        lambda kit: kit.model_copy(update={"authority": "another"}),
        lambda kit: kit.model_copy(update={"coordinator": SigningKey.generate().public}),
        lambda kit: kit.model_copy(update={"keys": a_kit(SigningKey.generate()).keys}),
    ],
)
def test_sealed_keys_open_in_no_other_kit(other: Callable[[Kit], Kit]) -> None:
    """Else who makes kits, but has no private keys, could have another's keys used for its own."""
    kit = a_kit(SigningKey.generate())
    sealed = seal(b"keys", WORDS, bound=kit.bound)
    assert unseal(sealed, WORDS, bound=kit.model_copy(update={"sealed": sealed}).bound) == b"keys"
    with pytest.raises(CredentialError):
        unseal(sealed, WORDS, bound=other(kit).bound)


@pytest.mark.usefixtures("quick")
def test_what_is_sealed_is_sealed_differently_each_time_and_cannot_be_altered() -> None:
    sealed = seal(b"keys", WORDS, bound=b"")
    again = seal(b"keys", WORDS, bound=b"")
    assert sealed.salt != again.salt and sealed.nonce != again.nonce
    assert b"keys".hex() not in sealed.content
    for field in ("salt", "nonce", "content"):
        value = getattr(sealed, field)
        flipped = f"{int(value[0], 16) ^ 1:x}{value[1:]}"
        with pytest.raises(CredentialError):
            unseal(sealed.model_copy(update={field: flipped}), WORDS, bound=b"")


def test_a_guess_is_dear_and_a_passphrase_too_long_to_guess() -> None:
    assert sealing._COST * sealing._BLOCK * 128 >= 128 * 2**20
    found = {new_passphrase() for _ in range(200)}
    assert len(found) == 200
    letters = {each for one in found for each in one} - {"-"}
    assert letters == set(sealing._ALPHABET) <= set(string.ascii_lowercase + string.digits)
    assert not letters & set("il1o0")
    bits = 24 * math.log2(len(sealing._ALPHABET))
    assert bits > 112
    assert all(len(one.replace("-", "")) == 24 for one in found)


@pytest.mark.parametrize("content", ["", "ab" * 15, "ab" * 16 + "c", "zz" * 20, "ab" * 8193])
def test_sealed_content_has_a_form(content: str) -> None:
    with pytest.raises(ValueError):
        Sealed(salt="ab" * 16, nonce="ab" * 12, content=content)
