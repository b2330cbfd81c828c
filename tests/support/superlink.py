"""Flower's real server in this process, behind FedLoom's guard, with its state in memory."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import uvicorn
from flwr.superlink.main import create_app

from fedloom.server.deploy.launch import Guard

TOKEN = b"0123456789abcdef" * 4


@contextmanager
def guarded_superlink(port: int) -> Iterator[str]:
    """Its URL."""
    app = Guard(create_app(), TOKEN)
    config = uvicorn.Config(app, host="127.0.0.1", port=port, log_level="critical")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    url = f"http://127.0.0.1:{port}"
    _until_up(url)
    try:
        yield url
    finally:
        server.should_exit = True
        thread.join(10)


def _until_up(url: str) -> None:
    end = time.monotonic() + 30
    while time.monotonic() < end:
        try:
            httpx.get(f"{url}/health", trust_env=False)
            return
        except httpx.TransportError:
            time.sleep(0.05)
    raise RuntimeError("Flower's server does not come up")
