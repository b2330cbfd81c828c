"""The bundle that Flower ships to sites: names of installed components, and no code."""

import base64
import hashlib
import json
from dataclasses import dataclass
from importlib.metadata import version

from flwr.cli.build import build_fab_from_files
from flwr.supercore.primitives.asymmetric_ed25519 import create_message_to_sign

from fedloom.shared.keys import SigningKey
from fedloom.shared.kits.trusted import key_id

PUBLISHER, NAME = "fedloom", "federation"
# What a run's config may hold: which run, and the hash of its plan.
RUN, PLAN = "run", "plan"


@dataclass(frozen=True, kw_only=True)
class Bundle:
    """A Flower app bundle, signed as Flower's nodes verify it (`--trusted-entities`)."""

    version: str
    content: bytes
    verification: str

    @property
    def app(self) -> str:
        """How a run asks for it."""
        return f"@{PUBLISHER}/{NAME}=={self.version}"


def signed_bundle(key: SigningKey, *, now: int) -> Bundle:
    """The bundle of this version of FedLoom, signed at `now` (seconds since 1970).

    The signature covers the bundle alone; what a run is to do is in its plan, whose hash each
    task carries under a signature of its own.
    """
    number = version("fedloom")
    content = build_fab_from_files({"pyproject.toml": _pyproject(number).encode()})[0]
    signature = key.sign_bytes(create_message_to_sign(hashlib.sha256(content).digest(), now))
    verification = {
        "public_key_id": key_id(key.public),
        "signed_at": now,
        "signature": base64.urlsafe_b64encode(signature).rstrip(b"=").decode(),
    }
    return Bundle(version=number, content=content, verification=json.dumps(verification))


def _pyproject(number: str) -> str:
    return f"""\
[project]
name = "{NAME}"
version = "{number}"
license = "Apache-2.0"
dependencies = []

[tool.flwr.app]
publisher = "{PUBLISHER}"

[tool.flwr.app.components]
serverapp = "fedloom.server.deploy.app:app"
clientapp = "fedloom.client.app:app"

[tool.flwr.app.config]
{RUN} = ""
{PLAN} = ""
"""
