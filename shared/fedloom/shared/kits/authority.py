"""Certificate authorities of one purpose: a federation's server, or a site's two own processes."""

import ipaddress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from fedloom.shared.errors import CredentialError

AUTHORITY_DAYS, SERVER_DAYS = 3650, 397
# A site whose clock is a little behind must not find the certificate not yet valid.
_BACKDATED = timedelta(hours=1)


@dataclass(frozen=True, kw_only=True)
class Issued:
    """A certificate and its private key, both PEM."""

    certificate: bytes
    key: bytes


def new_authority(purpose: str) -> Issued:
    """An authority that may sign no other authorities (RFC 5280, 4.2.1.9)."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = _name(f"FedLoom {purpose}"[:64])
    certificate = (
        _begun(name, name, key.public_key(), AUTHORITY_DAYS)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, SHA256())
    )
    return _issued(certificate, key)


def new_server(authority: Issued, host: str) -> Issued:
    """A certificate for `host`, a name or an address, and for loopback.

    Raises:
        CredentialError: the authority's key cannot be read.
    """
    usage = ExtendedKeyUsageOID.SERVER_AUTH
    return _new(authority, host, _names(host), usage, days=SERVER_DAYS)


def new_pair(purpose: str) -> "LoopbackPair":
    """Certificates for two processes of one machine that ask and answer on loopback.

    The authority's key is forgotten: nobody can ever be let in beside the two.
    """
    authority = new_authority(purpose)
    names = _names("localhost")
    server, client = ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH
    return LoopbackPair(
        authority=authority.certificate,
        service=_new(authority, "service", names, server, days=AUTHORITY_DAYS),
        relay=_new(authority, "relay", names, client, days=AUTHORITY_DAYS),
    )


@dataclass(frozen=True, kw_only=True)
class LoopbackPair:
    """The two ends, and the certificate (PEM) that each knows the other by."""

    authority: bytes
    service: Issued
    relay: Issued


def _new(
    authority: Issued,
    subject: str,
    names: list[x509.GeneralName],
    usage: x509.ObjectIdentifier,
    *,
    days: int,
) -> Issued:
    signer, issuer = _read(authority)
    key = ec.generate_private_key(ec.SECP256R1())
    public = issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    identifier = x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(public)
    certificate = (
        _begun(_name(subject[:64]), issuer.subject, key.public_key(), days)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        .add_extension(identifier, critical=False)
        .sign(signer, SHA256())
    )
    return _issued(certificate, key)


def _names(host: str) -> list[x509.GeneralName]:
    local = ["localhost", "127.0.0.1"]
    return [_general_name(name) for name in dict.fromkeys([host, *local])]


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host.strip("[]")))
    except ValueError:
        return x509.DNSName(host)


def _begun(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, days: int
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _BACKDATED)
        .not_valid_after(now + timedelta(days=days))
    )


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _issued(certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> Issued:
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return Issued(certificate=certificate.public_bytes(Encoding.PEM), key=private)


def _read(authority: Issued) -> tuple[ec.EllipticCurvePrivateKey, x509.Certificate]:
    try:
        key = load_pem_private_key(authority.key, None)
        certificate = x509.load_pem_x509_certificate(authority.certificate)
    except (ValueError, TypeError) as error:
        raise CredentialError("authority: cannot be read, expected what provision made") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise CredentialError("authority: expected an elliptic curve key")
    if key.public_key() != certificate.public_key():
        # Else the certificate that works is replaced by one that nobody believes.
        raise CredentialError("authority: its key is another's, expected the certificate's own")
    return key, certificate
