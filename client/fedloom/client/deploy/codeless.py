"""What a site's node asks of a bundle beside its signature: that it holds no code.

The coordinator's key says who asks for what; it must not be a key to the site's machine. A bundle
that names FedLoom's own relay and holds nothing but that name runs what the site installed.
"""

import importlib
import io
import logging
import sys
import tomllib
import zipfile
from collections.abc import Callable, Mapping
from typing import Protocol

logger = logging.getLogger("fedloom.node")

_RELAY = "fedloom.client.app:app"
# The project's file, and the list of files that Flower's build adds.
_FILES = frozenset({"pyproject.toml", ".info/CONTENT"})
_MOST_BYTES = 64 * 1024


class _Fab(Protocol):
    @property
    def content(self) -> bytes: ...


_Verify = Callable[[_Fab, Mapping[str, str]], bool]


def is_codeless(content: bytes) -> bool:
    """Whether a bundle is a project file alone that names the installed relay, and installs
    nothing; whatever is no such thing is not."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as bundle:
            entries = bundle.infolist()
            plain = {entry.filename for entry in entries} <= _FILES
            small = sum(entry.file_size for entry in entries) <= _MOST_BYTES
            if not (plain and small and len(entries) <= len(_FILES)):
                return False
            project = tomllib.loads(bundle.read("pyproject.toml").decode())
        components = project["tool"]["flwr"]["app"]["components"]
        installs = project["project"].get("dependencies")
    except (zipfile.BadZipFile, KeyError, TypeError, AttributeError, ValueError, RuntimeError):
        return False
    return bool(components.get("clientapp") == _RELAY and installs == [])


def require_codeless(module: str) -> None:
    """Let Flower's node take only bundles that are signed as before, and hold no code.

    `module` is where it verifies them; that has to be done before the node starts.
    """
    imported = importlib.import_module(module) and sys.modules[module]
    signed: _Verify = imported._verify_fab

    def verify(fab: _Fab, trusted: Mapping[str, str]) -> bool:
        if not is_codeless(fab.content):
            logger.error("bundle: holds code or names another relay, expected FedLoom's own name")
            return False
        return signed(fab, trusted)

    imported._verify_fab = verify  # type: ignore[attr-defined]
