"""Bundles that a site's node takes: signed by its coordinator, and without any code."""

import io
import subprocess
import sys
import zipfile

import pytest

from fedloom.client.deploy.codeless import is_codeless
from fedloom.server.deploy.bundle import signed_bundle
from fedloom.shared.keys import SigningKey

OWN = signed_bundle(SigningKey.generate(), now=1).content


def bundle(**changes: bytes | None) -> bytes:
    """FedLoom's own, with files changed, added or (None) left out."""
    with zipfile.ZipFile(io.BytesIO(OWN)) as own:
        files: dict[str, bytes | None] = {name: own.read(name) for name in own.namelist()}
    files |= changes
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as new:
        for name, content in files.items():
            if content is not None:
                new.writestr(name, content)
    return made.getvalue()


def project(old: str, new: str) -> bytes:
    with zipfile.ZipFile(io.BytesIO(OWN)) as own:
        text = own.read("pyproject.toml").decode()
    assert old in text
    return bundle(**{"pyproject.toml": text.replace(old, new).encode()})


def test_the_coordinators_own_bundle_is_taken() -> None:
    assert is_codeless(OWN) and is_codeless(bundle())
    assert is_codeless(project('version = "0.1.0"', 'version = "0.9.9"'))


@pytest.mark.parametrize(
    "content",
    [
        bundle(**{"evil.py": b"import os"}),
        bundle(**{"fedloom/client/app.py": b"app = None"}),
        bundle(**{"sitecustomize.py": b""}),
        bundle(**{"pyproject.toml": None}),
        bundle(**{"pyproject.toml": b"[tool"}),
        bundle(**{"pyproject.toml": b"x = 1"}),
        bundle(**{"pyproject.toml": b"\xff"}),
        bundle(**{"pyproject.toml": b"#" * 100_000}),
        project("fedloom.client.app:app", "os:system"),
        project("dependencies = []", 'dependencies = ["evil"]'),
        project("dependencies = []", ""),
        b"",
        b"PK\x03\x04 nonsense",
    ],
    ids=lambda content: str(len(content)),
)
def test_what_holds_code_is_refused_whoever_signed_it(content: bytes) -> None:
    """The coordinator's key, stolen or not, must not be a key to the site's machine."""
    assert not is_codeless(content)


def test_flowers_node_asks_this_before_it_believes_a_signature() -> None:
    """In a process of its own: what is changed in Flower's module must not outlive the test."""
    program = """
import sys, types
from fedloom.client.deploy.codeless import require_codeless
name = "flwr.supernode.start_client_internal"
import flwr.supernode.start_client_internal
module = sys.modules[name]
asked = []
module._verify_fab = lambda fab, trusted: asked.append(fab) or True
require_codeless(name)
code = types.SimpleNamespace(content=b"PK", verifications={})
print(module._verify_fab(code, {}), len(asked))
import inspect
print("_verify_fab(fab, trusted_entities)" in inspect.getsource(module))
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["False", "0", "True"]
