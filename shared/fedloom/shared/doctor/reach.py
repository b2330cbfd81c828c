"""The way to a server: names, TCP, TLS, and how far apart the clocks are."""

import ssl
import time
from collections.abc import Iterator
from email.utils import parsedate_to_datetime
from http.client import HTTPException, HTTPSConnection

from fedloom.shared.doctor.certificates import certificate
from fedloom.shared.doctor.symptom import Symptom

_SECONDS = 5.0
# Flower's nodes sign a time that its server must find near its own.
_CLOCK_SECONDS = 60.0
# What the proxy says to what it does not forward.
_CLOSED = 404


def server(address: str, authority: str) -> Iterator[Symptom]:
    """Whether the server at `address` is to be had, is the kit's, and has the same time."""
    host, _, port = address.rpartition(":")
    host = host.strip("[]")
    context = ssl.create_default_context(cadata=authority)
    connection = HTTPSConnection(host, int(port), timeout=_SECONDS, context=context)
    try:
        connection.connect()
        yield Symptom(text=f"{address} answers, and its certificate is the kit's authority's")
        yield from _of_peer(connection, authority, host)
        connection.request("GET", "/")
        answer = connection.getresponse()
        yield from _proxy(answer.status)
        yield from _clock(answer.getheader("Date"))
    except ssl.SSLCertVerificationError as error:
        yield Symptom(
            text=f"{address}: its certificate is not believed: {error.verify_message}",
            mend="ask the coordinator: another server answers there, the kit is of another "
            "federation, or the server's certificate has ended (check both clocks)",
        )
    except (OSError, HTTPException) as error:
        yield Symptom(
            text=f"{address}: cannot be reached: {error}",
            mend=f"let this machine connect to {host}, TCP port {port}, and ask whether the "
            "server is up",
        )
    finally:
        connection.close()


def _of_peer(connection: HTTPSConnection, authority: str, host: str) -> Iterator[Symptom]:
    found = connection.sock.getpeercert(binary_form=True)
    if found:
        pem = ssl.DER_cert_to_PEM_cert(found).encode()
        yield from certificate(pem, authority.encode(), host)


def _proxy(status: int) -> Iterator[Symptom]:
    if status == _CLOSED:
        yield Symptom(text="what is not for nodes is closed there")
    else:
        mend = "tell the coordinator: its proxy should answer 404 to all but a node's requests"
        yield Symptom(text=f"the server answers {status} to a stranger's request", mend=mend)


def _clock(date: str | None) -> Iterator[Symptom]:
    if date is None:
        return
    try:
        there = parsedate_to_datetime(date).timestamp()
    except (ValueError, TypeError, OverflowError):
        mend = "tell the coordinator: something other than its proxy may answer there"
        yield Symptom(text="the server tells no time that can be read", mend=mend)
        return
    # The header has whole seconds.
    apart = time.time() - there - 0.5
    text = f"clocks are {abs(apart):.0f} s apart"
    if abs(apart) <= _CLOCK_SECONDS:
        yield Symptom(text=text)
        return
    which = "ahead" if apart > 0 else "behind"
    yield Symptom(
        text=f"{text}: this machine is {which}",
        mend="set the wrong one (timedatectl set-ntp true): Flower's server turns nodes away "
        "whose clock differs by minutes",
    )
