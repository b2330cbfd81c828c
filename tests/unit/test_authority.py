"""The federation's authority: its one server is believed, and nobody else is."""

import ipaddress
import socket
import ssl
import tempfile
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError

from fedloom.shared.errors import CredentialError
from fedloom.shared.kits.authority import Issued, new_authority, new_server

OURS, THEIRS = new_authority("ours"), new_authority("ours")
HOSTS = ("fed.example.org", "10.0.0.7", "2001:db8::7", "localhost", "127.0.0.1", "::1")


def certificate(issued: Issued) -> x509.Certificate:
    return x509.load_pem_x509_certificate(issued.certificate)


def verify(issued: Issued, name: str, *, by: Issued = OURS, more: tuple[Issued, ...] = ()) -> None:
    """As cryptography's own verifier, which follows RFC 5280."""
    try:
        subject: x509.GeneralName = x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        subject = x509.DNSName(name)
    verifier = PolicyBuilder().store(Store([certificate(by)])).build_server_verifier(subject)
    verifier.verify(certificate(issued), [certificate(one) for one in more])


def greet(issued: Issued, name: str, *, trusted: Issued) -> str | None:
    """A TLS handshake as OpenSSL does it; None if it holds, else why not."""
    server, client = socket.socketpair()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "both.pem"
        path.write_bytes(issued.certificate + issued.key)
        context.load_cert_chain(path)

    def answer() -> None:
        try:
            context.wrap_socket(server, server_side=True).close()
        except OSError:
            server.close()

    thread = threading.Thread(target=answer)
    thread.start()
    asking = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    asking.load_verify_locations(cadata=trusted.certificate.decode())
    try:
        asking.wrap_socket(client, server_hostname=name).close()
    except ssl.SSLCertVerificationError as error:
        client.close()
        return error.verify_message
    finally:
        thread.join()
    return None


@pytest.mark.parametrize("host", HOSTS)
def test_a_server_is_believed_under_its_name_and_on_loopback_alone(host: str) -> None:
    issued = new_server(OURS, host)
    for name in (host, "localhost", "127.0.0.1"):
        verify(issued, name)
        assert greet(issued, name, trusted=OURS) is None
    for name in ("other.example.org", "10.0.0.8", "sub.fed.example.org"):
        with pytest.raises(VerificationError):
            verify(issued, name)
        assert "mismatch" in str(greet(issued, name, trusted=OURS))


def test_an_authority_of_the_same_name_is_not_believed() -> None:
    issued = new_server(THEIRS, "fed.example.org")
    with pytest.raises(VerificationError):
        verify(issued, "fed.example.org")
    assert greet(issued, "fed.example.org", trusted=OURS) is not None
    assert greet(issued, "fed.example.org", trusted=THEIRS) is None


def test_a_servers_key_makes_no_other_server() -> None:
    """Who takes the server's key must not become who signs."""
    stolen = new_server(OURS, "fed.example.org")
    with pytest.raises(x509.ExtensionNotFound):
        new_server(stolen, "evil.example")
    constraints = certificate(stolen).extensions.get_extension_for_class(x509.BasicConstraints)
    usage = certificate(stolen).extensions.get_extension_for_class(x509.KeyUsage).value
    assert constraints.critical and not constraints.value.ca
    assert not usage.key_cert_sign and not usage.crl_sign and usage.digital_signature


def test_an_authority_makes_no_other_authority() -> None:
    constraints = certificate(OURS).extensions.get_extension_for_class(x509.BasicConstraints)
    assert constraints.critical and constraints.value.ca and constraints.value.path_length == 0
    between = _signed_by_ours()
    with pytest.raises(VerificationError):
        verify(new_server(between, "evil.example"), "evil.example", more=(between,))


def _signed_by_ours() -> Issued:
    """An authority below ours, as who holds our key could make it."""
    template = new_authority("below")
    key = load_pem_private_key(OURS.key, None)
    below = certificate(template)
    builder = (
        x509.CertificateBuilder()
        .subject_name(below.subject)
        .issuer_name(certificate(OURS).subject)
        .public_key(below.public_key())
        .serial_number(7)
        .not_valid_before(datetime.now(UTC) - timedelta(hours=1))
        .not_valid_after(datetime.now(UTC) + timedelta(days=10))
    )
    for extension in below.extensions:
        builder = builder.add_extension(extension.value, extension.critical)
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.serialization import Encoding

    signed = builder.sign(key, SHA256())  # type: ignore[arg-type]
    return Issued(certificate=signed.public_bytes(Encoding.PEM), key=template.key)


def test_dates_leave_room_for_slow_clocks_and_end_within_what_clients_take() -> None:
    now = datetime.now(UTC)
    server = certificate(new_server(OURS, "fed.example.org"))
    for one, days in ((certificate(OURS), 3650), (server, 397)):
        assert one.not_valid_before_utc < now - timedelta(minutes=50)
        assert abs(one.not_valid_after_utc - now - timedelta(days=days)) < timedelta(hours=1)
    assert server.not_valid_after_utc - server.not_valid_before_utc < timedelta(days=398)


def test_a_renewed_certificate_is_another_key_of_the_same_authority() -> None:
    old, new = new_server(OURS, "fed.example.org"), new_server(OURS, "fed.example.org")
    assert old.key != new.key
    assert certificate(old).serial_number != certificate(new).serial_number
    verify(old, "fed.example.org")
    verify(new, "fed.example.org")


def test_a_long_name_is_no_obstacle() -> None:
    """A certificate's subject ends after 64 letters; names of hosts do not."""
    host = ".".join(["a" * 60] * 4)
    verify(new_server(OURS, host), host)


@pytest.mark.parametrize("key", [b"", b"-----BEGIN PRIVATE KEY-----\n", OURS.certificate])
def test_an_authority_that_cannot_be_read_is_told(key: bytes) -> None:
    with pytest.raises(CredentialError, match="authority: cannot be read"):
        new_server(Issued(certificate=OURS.certificate, key=key), "fed.example.org")
