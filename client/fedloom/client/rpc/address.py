"""Where a trainer service listens: a Unix socket of its owner's, or loopback with mutual TLS."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from fedloom.shared.errors import ConfigError

# A task with its plan and adapter, or an update, fits; a peer that sends more is cut off.
MAX_MESSAGE_BYTES = 256 * 2**20
LIMITS = (
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
    # No proxy of the environment stands between a site and its own service.
    ("grpc.enable_http_proxy", 0),
)
# What the kernel takes as the name of a Unix socket.
_LONGEST_PATH, _LAST_PORT = 107, 65_535
UNIX, _LOOPBACK = "unix:", re.compile(r"(127\.0\.0\.1|\[::1\]|localhost):\d{1,5}")
_FILES: Mapping[str, tuple[str, str]] = MappingProxyType(
    {"service": ("service.pem", "service.key"), "relay": ("relay.pem", "relay.key")}
)


@dataclass(frozen=True, kw_only=True)
class Credentials:
    """PEM bytes: who vouches for the peer, and who this side is."""

    authority: bytes
    certificate: bytes
    key: bytes


@dataclass(frozen=True, kw_only=True)
class Address:
    """A checked address; without `credentials` it is a Unix socket."""

    target: str
    credentials: Credentials | None

    @property
    def socket(self) -> Path | None:
        """The socket's path, if it is one."""
        return None if self.credentials else Path(self.target.removeprefix(UNIX))


def read_address(address: str, tls: Path | None, *, side: str) -> Address:
    """An address, with the certificates of one side of it, `service` or `relay`.

    Raises:
        ConfigError: TCP that is not loopback or has no TLS, a path that is too long, or a
            certificate that is not there.
    """
    if address.startswith(UNIX):
        path = address.removeprefix(UNIX)
        if len(path.encode()) > _LONGEST_PATH:
            problem = f"socket path of {len(path.encode())} bytes, expected at most {_LONGEST_PATH}"
            raise ConfigError("service address", [problem])
        return Address(target=f"{UNIX}{Path(path).absolute()}", credentials=None)
    host_and_port(address)
    if tls is None:
        problem = f"{address} without TLS certificates, expected a folder of them or a unix:PATH"
        raise ConfigError("service address", [problem])
    return Address(target=address, credentials=_credentials(tls, side))


def host_and_port(address: str) -> tuple[str, int]:
    """Of an address on loopback.

    Raises:
        ConfigError: it is none.
    """
    host, _, port = address.rpartition(":")
    if not _LOOPBACK.fullmatch(address) or int(port) > _LAST_PORT:
        problem = f"{address[:80]}, expected unix:PATH, or 127.0.0.1:PORT with TLS"
        raise ConfigError("service address", [problem])
    return host.strip("[]"), int(port)


def _credentials(folder: Path, side: str) -> Credentials:
    certificate, key = _FILES[side]
    missing = [name for name in ("ca.pem", certificate, key) if not (folder / name).is_file()]
    if missing:
        raise ConfigError(str(folder), [f"no file {name}" for name in missing])
    return Credentials(
        authority=(folder / "ca.pem").read_bytes(),
        certificate=(folder / certificate).read_bytes(),
        key=(folder / key).read_bytes(),
    )
