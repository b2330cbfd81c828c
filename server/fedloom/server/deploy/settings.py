"""`server.toml`: where a federation's server is reached, and on which ports."""

import ipaddress
import re
from typing import Annotated, Self

from pydantic import AfterValidator, Field, ValidationError, model_validator

from fedloom.shared.config.problems import explain
from fedloom.shared.config.values import Integer, Name, Section
from fedloom.shared.errors import ConfigError

Port = Annotated[Integer, Field(ge=1, le=65_535)]
_LABEL = r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_HOST_NAME = re.compile(rf"{_LABEL}(\.{_LABEL})*")
_INNER_PORTS = 5


def _checked_host(host: str) -> str:
    """A name or an address; `host:port` is neither, and would be taken for an IPv6 address."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        if "%" in host or not _HOST_NAME.fullmatch(host):
            raise ValueError("expected a host name, or an address without a port") from None
    return host


Host = Annotated[str, Field(pattern=r"^[A-Za-z0-9.:-]{1,253}$"), AfterValidator(_checked_host)]


class ServerSettings(Section):
    """`server.toml`: the public address, and the ports on loopback behind it.

    `host` is the name or address by which sites reach the server, `listen` the interface it is
    served on. From `inner_port` on, a few ports of loopback are the processes' own.
    """

    federation: Name
    host: Host
    listen: Host = "0.0.0.0"  # noqa: S104
    port: Port = 9443
    inner_port: Annotated[Integer, Field(ge=1024, le=65_530)] = 9460

    @classmethod
    def of(cls, federation: str, *, host: str, port: int) -> "ServerSettings":
        """New settings, as a person asks for them; an IPv6 address may be in brackets.

        Raises:
            ConfigError: no host, or a port that the inner ones need.
        """
        try:
            return cls(federation=federation, host=host.strip("[]"), port=port)
        except ValidationError as error:
            raise ConfigError("server", explain(error, cls)) from error

    @model_validator(mode="after")
    def _ports_differ(self) -> Self:
        inner = self.inner_ports
        if self.port in inner:
            raise ValueError(
                f"port {self.port} is one of {inner[0]} to {inner[-1]}, the inner ones"
            )
        return self

    @property
    def inner_ports(self) -> range:
        """All ports of loopback that the processes have."""
        return range(self.inner_port, self.inner_port + _INNER_PORTS)

    @property
    def superlink_port(self) -> int:
        """Flower's three interfaces, of which the proxy lets one through in part."""
        return self.inner_port

    @property
    def health_port(self) -> int:
        """Flower's gRPC health service."""
        return self.inner_port + 1

    @property
    def hub_port(self) -> int:
        """Where Flower's server fetches the signed bundle."""
        return self.inner_port + 2

    @property
    def metrics_port(self) -> int:
        """Metrics for Prometheus."""
        return self.inner_port + 3

    @property
    def keeper_health_port(self) -> int:
        """The keeper's gRPC health service."""
        return self.inner_port + 4

    @property
    def public_address(self) -> str:
        """As kits name it."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"
