"""gRPC's standard health service (grpc.health.v1), served on loopback, and asked."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import grpc
from grpc_health.v1 import health_pb2
from grpc_health.v1.health import HealthServicer
from grpc_health.v1.health_pb2_grpc import HealthStub, add_HealthServicer_to_server

_ASK_SECONDS = 2.0
_OPTIONS = (("grpc.enable_http_proxy", 0),)
_SERVING = health_pb2.HealthCheckResponse.SERVING
_NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


class Health:
    """What a process says of itself."""

    def __init__(self) -> None:
        self._servicer = HealthServicer()
        self.set(serving=False)

    def set(self, *, serving: bool) -> None:
        """Say whether all is well."""
        self._servicer.set("", _SERVING if serving else _NOT_SERVING)

    def add_to(self, server: grpc.Server) -> None:
        """Answer on a server that there is already."""
        add_HealthServicer_to_server(self._servicer, server)


@contextmanager
def serving_health(port: int) -> Iterator[Health]:
    """A health service on loopback, for the length of the block.

    Raises:
        RuntimeError: the port is taken.
    """
    health = Health()
    server = grpc.server(ThreadPoolExecutor(max_workers=2), options=[("grpc.so_reuseport", 0)])
    health.add_to(server)
    server.add_insecure_port(f"127.0.0.1:{port}")
    server.start()
    try:
        yield health
    finally:
        server.stop(None).wait()


def is_healthy(target: str) -> bool:
    """Whether the process at a gRPC target, such as `127.0.0.1:9461`, says that all is well."""
    with grpc.insecure_channel(target, options=_OPTIONS) as channel:
        try:
            request = health_pb2.HealthCheckRequest()
            answer = HealthStub(channel).Check(request, timeout=_ASK_SECONDS)
        except grpc.RpcError:
            return False
    return bool(answer.status == _SERVING)
