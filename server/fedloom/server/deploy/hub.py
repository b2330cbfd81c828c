"""Where Flower's server fetches the bundle with its signature: two answers on loopback.

Flower takes signatures from its hub alone, and drops those that come with a run. This is the
part of a hub that it asks.
"""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from fedloom.server.deploy.bundle import NAME, PUBLISHER, Bundle

_FETCH, _FILE = "/v1/hub/fetch-fab", "/bundle"
_MOST_BYTES = 64 * 1024
_PATIENCE_SECONDS = 20


@contextmanager
def serving_bundle(bundle: Bundle, port: int) -> Iterator[None]:
    """The bundle, to be had on loopback for the length of the block."""
    server = ThreadingHTTPServer(("127.0.0.1", port), _handler(bundle, port))
    thread = threading.Thread(target=server.serve_forever, name="hub", daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()


def _handler(bundle: Bundle, port: int) -> type[BaseHTTPRequestHandler]:
    where = {
        "fab_url": f"http://127.0.0.1:{port}{_FILE}",
        "verifications": [json.loads(bundle.verification)],
    }

    class Handler(BaseHTTPRequestHandler):
        """Answers for one bundle."""

        # Else whoever opens a connection and says nothing holds a thread for ever.
        timeout = _PATIENCE_SECONDS

        def do_POST(self) -> None:
            """Where the bundle is, and who signed it."""
            length = self.headers.get("Content-Length", "")
            body = self.rfile.read(int(length)) if _is_short(length) else b""
            known = self.path == _FETCH and _asks_for(body, bundle)
            self._answer(json.dumps(where).encode() if known else None, "application/json")

        def do_GET(self) -> None:
            """The bundle."""
            content = bundle.content if self.path == _FILE else None
            self._answer(content, "application/octet-stream")

        def log_message(self, *_: object) -> None:
            """Nothing: the keeper says when a run begins."""

        def _answer(self, content: bytes | None, kind: str) -> None:
            body = b'{"detail":"not found"}' if content is None else content
            self.send_response(404 if content is None else 200)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    return Handler


def _is_short(length: str) -> bool:
    return length.isdecimal() and len(length) < 9 and int(length) <= _MOST_BYTES


def _asks_for(body: bytes, bundle: Bundle) -> bool:
    try:
        asked = json.loads(body)
    except (ValueError, RecursionError):
        return False
    wanted = {"app_id": f"@{PUBLISHER}/{NAME}", "app_version": bundle.version}
    return isinstance(asked, dict) and wanted.items() <= asked.items()
