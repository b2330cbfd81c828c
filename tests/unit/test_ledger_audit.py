"""An exported ledger: verified by the public key alone, by FedLoom and by code that knows none."""

import hashlib
import json
from pathlib import Path

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from fedloom.client.ledger.audit import LedgerExport, verify_export
from fedloom.client.ledger.entries import charge_of
from fedloom.client.ledger.ledger import Ledger
from fedloom.client.ledger.spending import spent_of
from fedloom.shared.errors import LedgerError
from tests.support.ledgers import begun
from tests.support.plans import STEPS, a_task

ROOT = Path(__file__).parents[2]


@pytest.fixture
def exported(tmp_path: Path) -> Path:
    ledger = begun(tmp_path / "state")
    for number in (1, 2, 3):
        ledger.reserve(charge_of(a_task(round_number=number)))
    ledger.void(a_task(round_number=2).sha256)
    path = tmp_path / "export.json"
    path.write_text(LedgerExport.of(ledger).model_dump_json())
    return path


def key_of(exported: Path) -> str:
    return str(json.loads(exported.read_text())["public_key"])


def test_an_export_says_what_the_ledger_says(exported: Path, tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "state")
    chain = verify_export(exported, public_key=key_of(exported))
    assert chain.entries == ledger.entries()
    assert chain.opening.site == "north"
    assert spent_of(chain.story) == ledger.spent()
    assert ledger.spent().steps == 2 * STEPS
    assert ledger.head().digest == chain.head.digest


def test_the_documented_procedure_verifies_it_without_fedloom(
    exported: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Catches a document that no longer says how a ledger is signed."""
    text = (ROOT / "docs/ledger.md").read_text(encoding="utf-8")
    code = text.split("```python\n")[1].split("```")[0]
    assert "fedloom" not in code.replace("fedloom-ledger-1", "")
    scope: dict[str, object] = {"EXPORT": str(exported), "KEY": key_of(exported)}
    exec(compile(code, "docs/ledger.md", "exec"), dict(scope))  # noqa: S102
    assert "5 entries" in capsys.readouterr().out
    tree = json.loads(exported.read_text())
    tree["entries"][2]["body"] = tree["entries"][2]["body"].replace('"steps":2', '"steps":1')
    exported.write_text(json.dumps(tree))
    with pytest.raises((InvalidSignature, SystemExit)):
        exec(compile(code, "docs/ledger.md", "exec"), dict(scope))  # noqa: S102


def test_signatures_are_plain_ed25519_over_plain_sha256(exported: Path) -> None:
    tree = json.loads(exported.read_text())
    public = Ed25519PublicKey.from_public_bytes(bytes.fromhex(tree["public_key"]))
    previous = "0" * 64
    for entry in tree["entries"]:
        digest = hashlib.sha256(b"fedloom-ledger-1\n" + entry["body"].encode()).digest()
        public.verify(bytes.fromhex(entry["signature"]), digest)
        assert json.loads(entry["body"])["previous"] == previous
        previous = digest.hex()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda tree: tree["entries"].pop(1), "entry 2 does not follow"),
        (lambda tree: tree["entries"].reverse(), "entry 1 is damaged"),
        (lambda tree: tree["entries"][0].update(signature="0" * 128), "entry 1 is not signed"),
        (lambda tree: tree["entries"][0].update(body="{}"), "entry 1 is damaged"),
        (lambda tree: tree.update(public_key="0" * 64), "signed by key 000000000000"),
        (lambda tree: tree.update(more=1), "more"),
    ],
    ids=["gap", "order", "signature", "body", "key", "extra"],
)
def test_a_changed_export_is_refused(exported: Path, change, message: str) -> None:
    key = key_of(exported)
    tree = json.loads(exported.read_text())
    change(tree)
    exported.write_text(json.dumps(tree))
    with pytest.raises(LedgerError, match=message):
        verify_export(exported, public_key=key)


def test_control_missing_last_entries_are_told_by_the_head_alone(exported: Path) -> None:
    """What the chain cannot see, and why coordinators remember heads."""
    whole = verify_export(exported, public_key=key_of(exported))
    tree = json.loads(exported.read_text())
    tree["entries"].pop()
    exported.write_text(json.dumps(tree))
    cut = verify_export(exported, public_key=key_of(exported))
    assert cut.head.digest == whole.entries[-1].previous != whole.head.digest
