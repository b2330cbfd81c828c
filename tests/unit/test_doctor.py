"""The doctor: what is wrong becomes a line that says how to mend it, and never a traceback."""

import fcntl
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta, tzinfo
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from fedloom.client.deploy.doctor import site_looks
from fedloom.client.deploy.link_folder import LinkFolder
from fedloom.client.site.config import NodeSettings
from fedloom.shared.doctor import certificates as module
from fedloom.shared.doctor.certificates import RENEW, certificate
from fedloom.shared.doctor.machine import ports, private_files
from fedloom.shared.doctor.reach import server
from fedloom.shared.doctor.symptom import Look, Symptom, page
from fedloom.shared.errors import CredentialError
from fedloom.shared.health import serving_health
from fedloom.shared.kits.authority import new_authority, new_server
from tests.support.deployed import free_ports
from tests.support.kits import a_joined_site, a_new_site

OURS = new_authority("ours")
ISSUED = new_server(OURS, "fed.example.org")


def ill(symptoms: Iterator[Symptom]) -> list[str]:
    """What is to be mended."""
    return [symptom.text for symptom in symptoms if symptom.mend is not None]


def raising(error: Exception) -> Callable[[], Iterator[Symptom]]:
    def find() -> Iterator[Symptom]:
        yield Symptom(text="so far")
        raise error

    return find


def test_the_page_counts_what_is_ill_and_goes_on_after_an_error() -> None:
    denied = PermissionError(13, "Permission denied", "/a")
    looks = [
        Look(topic="one", find=lambda: iter([Symptom(text="well")])),
        Look(topic="two", find=raising(CredentialError("lost\n  key"))),
        Look(topic="three", find=raising(denied)),
        Look(topic="four", find=lambda: iter([Symptom(text="bad", mend="do it")])),
    ]
    lines, number = page(looks)
    assert number == 3
    assert lines == [
        "one          ok   well",
        "two          ok   so far",
        "             MEND lost key",
        "                  -> as it says",
        "three        ok   so far",
        "             MEND /a: Permission denied",
        "                  -> give this user what it needs there",
        "four         MEND bad",
        "                  -> do it",
        "3 things to mend",
    ]
    assert page(looks[:1]) == (["one          ok   well", "all is well"], 0)


def test_a_sites_page_says_that_it_is_for_the_site_alone(tmp_path: Path) -> None:
    """A check of the records tells their exact number."""
    first = page(site_looks(a_new_site(tmp_path))[:1])[0][0]
    assert first.endswith("is for the site alone: it may hold exact counts of records")


def test_a_site_that_has_not_joined_is_told_how_and_nothing_that_follows_from_it(
    tmp_path: Path,
) -> None:
    """Its keys are made by joining: they are not to be put back from anywhere."""
    site = a_new_site(tmp_path)
    topics = ("joined", "keys", "server")
    looks = [look for look in site_looks(site) if look.topic in topics]
    assert page(looks)[0] == [
        "joined       MEND this site has not joined",
        f"                  -> fedloom site request {tmp_path}, then fedloom site join {tmp_path} "
        "north.kit",
        "1 thing to mend",
    ]
    assert [look.topic for look in site_looks(a_joined_site(tmp_path / "joined"))][3:6] == [*topics]


def test_anothers_healthy_answer_on_a_sites_port_is_not_taken_for_its_own(tmp_path: Path) -> None:
    base = free_ports(4)
    site = a_joined_site(tmp_path / "south", node=NodeSettings(port=base))

    def said() -> list[str]:
        (look,) = (look for look in site_looks(site) if look.topic == "ports")
        return ill(look.symptoms())

    with serving_health(base + 1) as health:
        health.set(serving=True)
        assert said() == [f"its health: {base + 1} is taken by something else"]
        lock = LinkFolder.of(site).node_lock
        with lock.open("wb") as held:
            fcntl.flock(held, fcntl.LOCK_EX)
            assert said() == [f"node: nothing listens on {base}"]


@pytest.mark.parametrize("running", [True, False])
def test_ports_are_taken_while_a_party_is_up_and_free_while_it_is_not(*, running: bool) -> None:
    free = free_ports(2)
    with socket.create_server(("127.0.0.1", 0)) as held:
        taken = held.getsockname()[1]
        found = ill(ports({"a": taken, "b": free}, running=running))
        well = {"a": taken} if running else {"b": free}
        assert not ill(ports(well, running=running))
    wrong = f"b: nothing listens on {free}" if running else f"a: {taken} is taken by something else"
    assert found == [wrong]


def test_private_files_are_there_and_the_owners_alone(tmp_path: Path) -> None:
    good, bad, lost = (tmp_path / name for name in ("good", "bad", "lost"))
    for path, mode in ((good, 0o600), (bad, 0o640)):
        path.touch()
        path.chmod(mode)
    assert ill(private_files(good, bad, lost)) == [
        f"{lost}: not there",
        f"{bad}: others can read it",
    ]
    assert [found.text for found in private_files(good)] == ["1 private files, the owner's alone"]


@contextmanager
def in_days(patch: pytest.MonkeyPatch, days: int) -> Iterator[None]:
    """The doctor's clock, so many days from now."""

    class Later(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> "Later":
            return cls.fromtimestamp(time.time() + days * 86_400, tz or UTC)

    with patch.context() as context:
        context.setattr(module, "datetime", Later)
        yield


@pytest.mark.parametrize(
    ("days", "words"),
    [(0, None), (360, None), (380, "certificate until "), (398, ": over"),
     (-1, "this machine's clock is behind that")],
)  # fmt: skip
def test_a_certificates_age_is_told(
    days: int, words: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    with in_days(monkeypatch, days):
        found = ill(certificate(ISSUED.certificate, OURS.certificate, "fed.example.org"))
    assert len(found) == (0 if words is None else 1)
    assert all(words in text for text in found if words)


def test_a_certificate_of_another_authority_or_for_another_name_is_told() -> None:
    other = new_authority("ours").certificate
    found = ill(certificate(ISSUED.certificate, other, "fed.example.org"))
    assert found == ["certificate of another authority"]
    (elsewhere,) = (
        symptom
        for symptom in certificate(ISSUED.certificate, OURS.certificate, "x.example")
        if symptom.mend
    )
    assert "fed.example.org, localhost, 127.0.0.1, not for x.example" in elsewhere.text
    assert elsewhere.mend == RENEW
    with pytest.raises(CredentialError, match="cannot be read"):
        list(certificate(b"x", OURS.certificate, "x.example"))


@contextmanager
def answering(*, status: int = 404, date: str | None = None) -> Iterator[str]:
    """A small server over TLS, of our authority; its address."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response_only(status)
            if date is not None:
                self.send_header("Date", date)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None: ...

    own = new_server(OURS, "localhost")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with short_files(own.certificate, own.key) as (certificate_file, key_file):
        context.load_cert_chain(certificate_file, key_file)
    served = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    served.socket = context.wrap_socket(served.socket, server_side=True)
    thread = threading.Thread(target=served.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"localhost:{served.server_address[1]}"
    finally:
        served.shutdown()
        served.server_close()
        thread.join()


@contextmanager
def short_files(*contents: bytes) -> Iterator[list[Path]]:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / str(number) for number in range(len(contents))]
        for path, content in zip(paths, contents, strict=True):
            path.write_bytes(content)
        yield paths


def reached(address: str, authority: bytes = OURS.certificate) -> list[str]:
    return ill(server(address, authority.decode()))


def test_a_server_that_is_well_is_well() -> None:
    with answering(date=formatdate(usegmt=True)) as address:
        assert reached(address) == []
    with answering() as address:
        assert reached(address) == [], "without a time, none is compared"


def test_a_server_that_cannot_be_reached_is_told() -> None:
    (found,) = reached(f"localhost:{free_ports(1)}")
    assert "cannot be reached" in found


def test_a_server_of_another_authority_is_told() -> None:
    with answering() as address:
        (found,) = reached(address, new_authority("ours").certificate)
    assert "its certificate is not believed" in found


def test_a_server_that_lets_strangers_in_is_told() -> None:
    with answering(status=200) as address:
        assert reached(address) == ["the server answers 200 to a stranger's request"]


@pytest.mark.parametrize(("hours", "which"), [(1, "behind"), (-1, "ahead")])
def test_clocks_that_are_apart_are_told(hours: int, which: str) -> None:
    there = datetime.now(UTC) + timedelta(hours=hours)
    with answering(date=formatdate(there.timestamp(), usegmt=True)) as address:
        (found,) = reached(address)
    assert found.endswith(f"this machine is {which}")


@pytest.mark.parametrize("date", ["yesterday", "", "Mon, 99 Foo 20x6", "1 Jan 999999 00:00:00 GMT"])
def test_a_time_that_is_none_is_told(date: str) -> None:
    with answering(date=date) as address:
        assert reached(address) == ["the server tells no time that can be read"]
