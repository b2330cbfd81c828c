"""Where a trainer service may listen, and who may speak to it there."""

import datetime
import os
import socket
import stat
import threading
import time
from pathlib import Path

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from fedloom.client.answering import Told, nobody, refusal
from fedloom.client.rpc import serving as serving_module
from fedloom.client.rpc.address import Address, read_address
from fedloom.client.rpc.remote import SITE_SERVICE, SITE_SERVICE_TLS, RemoteSite, connect
from fedloom.client.rpc.serving import serving
from fedloom.client.rpc.site_pb2 import Task
from fedloom.client.rpc.site_pb2_grpc import SiteStub
from fedloom.shared.errors import ConfigError
from fedloom.shared.wire.envelope import Envelope
from fedloom.shared.wire.frame import Frame
from fedloom.shared.wire.messages import HelloHeader, RefusalHeader
from tests.support.served import a_question, short_folder


class Polite:
    """Answers, and knows nothing."""

    def hello(self, asked: Envelope) -> Envelope:
        return Envelope(frame=HelloHeader(site="north", budget=None).frame())

    def train(self, asked: Envelope, told: Told) -> Envelope:
        return refusal("north", "epsilon")


def name_of(site: RemoteSite) -> str:
    return HelloHeader.parse(site.hello(a_question()).frame.header).site


def refused_by(site: RemoteSite) -> str:
    return RefusalHeader.parse(site.hello(a_question()).frame.header).rule


@pytest.mark.parametrize(
    ("address", "problem"),
    [
        ("0.0.0.0:9000", "expected unix:PATH, or 127.0.0.1:PORT with TLS"),
        ("192.168.1.4:9000", "expected unix:PATH"),
        ("example.org:9000", "expected unix:PATH"),
        ("127.0.0.1.example.org:9000", "expected unix:PATH"),
        ("127.0.0.1:9000", "without TLS certificates"),
        ("localhost:9000", "without TLS certificates"),
        ("", "expected unix:PATH"),
        ("unix:/tmp/" + "x" * 108, "expected at most 107"),
    ],
)
def test_other_machines_and_tcp_without_tls_are_refused(address: str, problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        read_address(address, None, side="service")
    with pytest.raises(ConfigError, match=problem):
        connect({SITE_SERVICE: address})


def test_a_socket_is_its_owners_alone_from_its_first_moment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Looked at as soon as it is bound: a chmod after that would come too late."""
    seen: list[int] = []
    bind = serving_module._bind

    def spy(server: grpc.Server, address: Address) -> None:
        bind(server, address)
        assert address.socket is not None
        seen.append(stat.S_IMODE(address.socket.stat().st_mode))

    monkeypatch.setattr(serving_module, "_bind", spy)
    before = os.umask(0)
    try:
        with short_folder() as folder:
            address = read_address(f"unix:{folder / 's'}", None, side="service")
            with serving(Polite(), address):
                assert stat.S_IMODE((folder / "s").stat().st_mode) == 0o600
                assert name_of(connect({SITE_SERVICE: address.target})) == "north"
            assert os.umask(0) == 0, "the process's own is as it was"
    finally:
        os.umask(before)
    assert seen == [0o600]


def test_a_socket_that_a_killed_service_left_is_taken_over() -> None:
    with short_folder() as folder:
        left = socket.socket(socket.AF_UNIX)
        left.bind(str(folder / "s"))
        left.close()
        address = read_address(f"unix:{folder / 's'}", None, side="service")
        with serving(Polite(), address):
            assert name_of(RemoteSite(address)) == "north"


def test_a_socket_that_is_served_is_not_taken_away() -> None:
    with short_folder() as folder:
        address = read_address(f"unix:{folder / 's'}", None, side="service")
        with serving(Polite(), address):
            refused = pytest.raises(ConfigError, match="another service answers there")
            with refused, serving(Polite(), address):
                pass
            assert name_of(RemoteSite(address)) == "north"


class Slow(Polite):
    """Takes its time, and remembers what it was asked."""

    def __init__(self) -> None:
        self.began, self.may_end = threading.Event(), threading.Event()
        self.ended: list[str] = []

    def train(self, asked: Envelope, told: Told) -> Envelope:
        self.began.set()
        self.may_end.wait(20)
        self.ended.append(asked.frame.header)
        return refusal("north", "epsilon")


def test_a_task_at_work_ends_before_the_service_does_and_one_that_waits_is_dropped() -> None:
    """Else a second service could have the dataset while the first still trains."""
    slow = Slow()
    with short_folder() as folder:
        address = read_address(f"unix:{folder / 's'}", None, side="service")
        with serving(slow, address):
            askers = []
            for name in ("first", "second"):
                asked = Envelope(frame=Frame(header=name))
                site = RemoteSite(address)
                askers.append(threading.Thread(target=site.train, args=(asked, lambda _: None)))
                askers[-1].start()
                slow.began.wait(10)
            threading.Timer(3.0, slow.may_end.set).start()
        assert slow.ended == ["first"]
        for asker in askers:
            asker.join(10)


def test_a_task_whose_relay_has_gone_before_it_began_is_dropped() -> None:
    """Else a relay that asks and hangs up has the site train for nobody, as often as it likes."""
    slow = Slow()
    with short_folder() as folder:
        address = read_address(f"unix:{folder / 's'}", None, side="service")
        with serving(slow, address):
            first = Envelope(frame=Frame(header="first"))
            asker = threading.Thread(target=RemoteSite(address).train, args=(first, nobody))
            asker.start()
            slow.began.wait(10)
            with grpc.insecure_channel(address.target) as channel:
                gone = SiteStub(channel).Train(Task(header="gone"), timeout=0.5)
                with pytest.raises(grpc.RpcError):
                    next(gone)
            # The service has a clock of its own for that.
            time.sleep(0.5)
            slow.may_end.set()
            asker.join(10)
            RemoteSite(address).train(Envelope(frame=Frame(header="last")), nobody)
    assert slow.ended == ["first", "last"]


class Counting(Polite):
    """Knows how many of its tasks were at work at once."""

    def __init__(self) -> None:
        self._lock, self._now, self.most, self.ended = threading.Lock(), 0, 0, 0

    def train(self, asked: Envelope, told: Told) -> Envelope:
        with self._lock:
            self._now += 1
            self.most = max(self.most, self._now)
        time.sleep(0.05)
        with self._lock:
            self._now -= 1
            self.ended += 1
        return refusal("north", asked.frame.header)


def test_of_four_callers_at_once_each_has_its_own_answer_and_one_trains_at_a_time() -> None:
    counting, rules = Counting(), ["a", "b", "c", "d"]
    answers: dict[str, str] = {}
    with short_folder() as folder:
        address = read_address(f"unix:{folder / 's'}", None, side="service")

        def ask(rule: str) -> None:
            found = RemoteSite(address).train(Envelope(frame=Frame(header=rule)), nobody)
            answers[rule] = RefusalHeader.parse(found.frame.header).rule

        with serving(counting, address):
            askers = [threading.Thread(target=ask, args=(rule,)) for rule in rules]
            for asker in askers:
                asker.start()
            for asker in askers:
                asker.join(20)
    assert answers == {rule: rule for rule in rules}
    assert (counting.most, counting.ended) == (1, 4)


def test_a_service_that_is_not_there_is_said_by_a_rule() -> None:
    with short_folder() as folder:
        address = read_address(f"unix:{folder / 's'}", None, side="relay")
        assert refused_by(RemoteSite(address)) == "trainer-unreachable"


def test_a_service_that_went_with_a_task_is_waited_for() -> None:
    """Its relay would else cost the site a round, for the seconds of a restart."""
    slow, found = Slow(), []
    with short_folder() as folder:
        address = read_address(f"unix:{folder / 's'}", None, side="relay")

        def ask() -> None:
            asked = Envelope(frame=Frame(header="a task"))
            found.append(RemoteSite(address, return_seconds=30).train(asked, nobody))

        relay = threading.Thread(target=ask)
        relay.start()
        with serving(slow, address):
            assert slow.began.wait(20)
            threading.Timer(2.5, slow.may_end.set).start()
        assert not found
        with serving(Polite(), address):
            relay.join(20)
    assert [RefusalHeader.parse(answer.frame.header).rule for answer in found] == ["epsilon"]


def pem_pair(
    folder: Path, name: str, authority: tuple[x509.Name, ec.EllipticCurvePrivateKey]
) -> None:
    key, (issuer, issuer_key) = ec.generate_private_key(ec.SECP256R1()), authority
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    loopback = x509.SubjectAlternativeName([x509.DNSName("localhost")])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key((issuer_key if name == "ca" else key).public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(loopback, critical=False)
        .add_extension(x509.BasicConstraints(ca=name == "ca", path_length=None), critical=True)
        .sign(issuer_key, SHA256())
    )
    (folder / f"{name}.pem").write_bytes(certificate.public_bytes(Encoding.PEM))
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (folder / f"{name}.key").write_bytes(private)


def certificates(folder: Path) -> Path:
    """An authority of its own with a service and a relay."""
    folder.mkdir()
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "ca")])
    authority = (name, ec.generate_private_key(ec.SECP256R1()))
    for who in ("ca", "service", "relay"):
        pem_pair(folder, who, authority)
    return folder


def a_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_loopback_wants_both_sides_certificates(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A relay of another authority, one without any, and one without TLS get nothing."""
    monkeypatch.setattr("fedloom.client.rpc.remote._RETURN_SECONDS", 0.0)
    ours, theirs = certificates(tmp_path / "ours"), certificates(tmp_path / "theirs")
    target = f"localhost:{a_port()}"
    with serving(Polite(), read_address(target, ours, side="service")):
        assert name_of(connect({SITE_SERVICE: target, SITE_SERVICE_TLS: str(ours)})) == "north"
        stranger = connect({SITE_SERVICE: target, SITE_SERVICE_TLS: str(theirs)})
        assert refused_by(stranger) == "trainer-unreachable"
        assert refused_by(RemoteSite(Address(target=target, credentials=None))) == (
            "trainer-unreachable"
        )
        nobody = grpc.ssl_channel_credentials((ours / "ca.pem").read_bytes())
        with grpc.secure_channel(target, nobody) as channel, pytest.raises(grpc.RpcError):
            channel.unary_unary("/fedloom.site.v1.Site/Hello")(b"", timeout=5)


def test_a_port_that_is_served_is_not_shared(tmp_path: Path) -> None:
    """Where two services may bind one port, the system gives each half of the relay's calls."""
    ours = certificates(tmp_path / "ours")
    address = read_address(f"localhost:{a_port()}", ours, side="service")
    with serving(Polite(), address):
        refused = pytest.raises(ConfigError, match="cannot be had")
        with refused, serving(Polite(), address):
            pass


def test_missing_certificates_are_named(tmp_path: Path) -> None:
    folder = certificates(tmp_path / "tls")
    (folder / "service.key").unlink()
    with pytest.raises(ConfigError, match=r"no file service\.key"):
        read_address("127.0.0.1:9000", folder, side="service")
