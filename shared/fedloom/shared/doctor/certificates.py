"""A server's certificate: whether it comes from its authority, for this name, and for how long."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError

from fedloom.shared.doctor.symptom import Symptom
from fedloom.shared.errors import CredentialError

_SOON = timedelta(days=30)
RENEW = (
    "fedloom provision FEDERATION --server HOST --renew-certificate, then start the server again"
)


def certificate(content: bytes, authority: bytes, host: str) -> Iterator[Symptom]:
    """Whether a certificate (PEM) is the authority's, for `host`, and not near its end."""
    found = _read(content)
    names = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    known = [str(name.value) for name in names]
    if host not in known:
        yield Symptom(text=f"certificate for {', '.join(known)}, not for {host}", mend=RENEW)
    yield _age(found.not_valid_before_utc, found.not_valid_after_utc)
    yield _issued(found, _read(authority))


def _issued(found: x509.Certificate, authority: x509.Certificate) -> Symptom:
    subject = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value[0]
    # Its age is told apart from this.
    builder = PolicyBuilder().store(Store([authority])).time(found.not_valid_before_utc)
    try:
        builder.build_server_verifier(subject).verify(found, [])
    except VerificationError:
        return Symptom(text="certificate of another authority", mend=RENEW)
    return Symptom(text=f"certificate from {authority.subject.rfc4514_string()}")


def _age(begins: datetime, ends: datetime) -> Symptom:
    now = datetime.now(UTC)
    text = f"certificate until {ends:%Y-%m-%d}"
    if now < begins:
        return Symptom(
            text=f"certificate not valid before {begins:%Y-%m-%d %H:%M} UTC, and this "
            "machine's clock is behind that",
            mend="set this machine's clock",
        )
    if now >= ends:
        return Symptom(text=f"{text}: over", mend=RENEW)
    return Symptom(text=text, mend=RENEW if ends - now < _SOON else None)


def _read(content: bytes) -> x509.Certificate:
    try:
        return x509.load_pem_x509_certificate(content)
    except ValueError as error:
        raise CredentialError("certificate: cannot be read, expected PEM") from error
