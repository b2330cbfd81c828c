"""`python -m fedloom.server.deploy.launch superlink|superexec|proxy ...`: a server's, closed.

Flower's Control interface has no authentication: whoever reaches its port, on loopback every
user of the machine, may start a run of code of their own. Here it asks for the server's token.
"""

import functools
import hmac
import os
import sys
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from fedloom.server.deploy.bounds import bound_messages
from fedloom.server.deploy.home import ServerHome
from fedloom.server.deploy.proxy import nginx_config
from fedloom.shared.errors import CredentialError
from fedloom.shared.files import check_owner_only, write_durably
from fedloom.shared.flower_process import (
    RETRY_SECONDS,
    flower_home,
    hide_task_tokens,
    try_again_within,
)

CONTROL_TOKEN = "FEDLOOM_CONTROL_TOKEN_FILE"  # noqa: S105
# These have an authentication of their own: a node's signature, a secret and a task's token.
_GUARDED_BY_FLOWER = ("/v1/fleet/", "/v1/runtime/")
_HEALTH = "/health"
# Else Flower's server waits half a minute for nodes that stay connected.
_GRACE_SECONDS = 3
_TOKEN_LETTERS = 32

_Scope = MutableMapping[str, Any]
_Asgi = Callable[[_Scope, Any, Any], Awaitable[None]]


class Guard:
    """Lets a request to anything but nodes' and tasks' own interfaces through with the token."""

    def __init__(self, app: _Asgi, token: bytes) -> None:
        self._app = app
        self._expected = b"Bearer " + token

    async def __call__(self, scope: _Scope, receive: Any, send: Any) -> None:
        """Answer 401, or hand on."""
        from starlette.responses import PlainTextResponse

        if scope["type"] == "http" and not self._may(scope):
            refused = PlainTextResponse("control token required", 401)
            await refused(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    def _may(self, scope: _Scope) -> bool:
        path = str(scope.get("path", ""))
        if path == _HEALTH or path.startswith(_GUARDED_BY_FLOWER):
            return True
        shown = dict(scope["headers"]).get(b"authorization", b"")
        return hmac.compare_digest(shown, self._expected)


def superlink() -> None:
    """Flower's server."""
    import uvicorn
    from flwr.superlink import extensions
    from flwr.superlink.cli import flower_superlink
    from starlette.middleware import Middleware

    token = _token(Path(os.environ[CONTROL_TOKEN]))
    bound_messages()
    extensions.get_middleware = lambda: (Middleware(Guard, token=token),)
    uvicorn.run = functools.partial(uvicorn.run, timeout_graceful_shutdown=_GRACE_SECONDS)
    flower_superlink()


def _token(path: Path) -> bytes:
    check_owner_only(path)
    token = path.read_bytes().strip()
    # An empty one would let everybody in who shows an empty one.
    if len(token) < _TOKEN_LETTERS:
        raise CredentialError(f"{path}: no token in it, expected what fedloom provision made")
    return token


def superexec() -> None:
    """What starts a process for each run."""
    from flwr.supercore.cli import flower_superexec

    hide_task_tokens(flower_home() / "tasks")
    try_again_within(RETRY_SECONDS)
    flower_superexec()


def proxy() -> None:
    """nginx, for a server's folder and with the options after it.

    Its settings are written as it starts, by its own user: they follow `server.toml`, and whoever
    writes units writes nothing into the server's folder.
    """
    nginx, folder, *more = sys.argv[1:]
    home = ServerHome(Path(folder))
    config = home.proxy / "nginx.conf"
    write_durably(config, nginx_config(home, home.settings()).encode())
    os.execv(nginx, [nginx, "-p", str(home.proxy), "-e", "stderr", "-c", str(config), *more])  # noqa: S606


_WHAT: Mapping[str, Callable[[], None]] = MappingProxyType(
    {"superlink": superlink, "superexec": superexec, "proxy": proxy}
)

if __name__ == "__main__":
    _WHAT[sys.argv.pop(1)]()
