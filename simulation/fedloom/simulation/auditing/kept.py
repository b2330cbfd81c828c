"""What a privacy audit found, kept in its run folder together with what it was found of."""

import hashlib
from dataclasses import dataclass

from pydantic import ValidationError

from fedloom.server.evaluator.findings import AuditFindings
from fedloom.server.run.folder import RunFolder
from fedloom.shared.config.values import Section
from fedloom.shared.files import write_durably
from fedloom.shared.wire.messages import Digest

FILE = "privacy-audit.json"
_OF = "privacy-audit-of.json"


class FoundOf(Section):
    """The canaries with their coins, the plan and the final adapter that findings are of."""

    dealt_sha256: Digest
    plan_sha256: Digest
    adapter_sha256: Digest


class _Told(FoundOf):
    findings_sha256: Digest


@dataclass(frozen=True, kw_only=True)
class KeptFindings:
    """Findings in a run folder.

    Guarantee: what `before` gives was kept by `keep`, unchanged, and for the same canaries, plan
    and adapter. Assumes that nobody forges both files.
    """

    folder: RunFolder
    of: FoundOf

    def keep(self, findings: AuditFindings) -> AuditFindings:
        """Write them durably, and give them back."""
        content = findings.model_dump_json(indent=2).encode()
        write_durably(self.folder.path / FILE, content)
        # Last: findings that a crash left without it are found again.
        told = self._told(content).model_dump_json(indent=2)
        write_durably(self.folder.path / _OF, told.encode())
        return findings

    def before(self) -> AuditFindings | None:
        """Those that were kept; None where there are none, or they are damaged or of others: they
        are found again."""
        try:
            content = (self.folder.path / FILE).read_bytes()
            told = _Told.model_validate_json((self.folder.path / _OF).read_bytes())
            found = AuditFindings.model_validate_json(content)
        except (FileNotFoundError, ValidationError):
            return None
        return found if told == self._told(content) else None

    def _told(self, content: bytes) -> _Told:
        found = hashlib.sha256(content).hexdigest()
        return _Told(**self.of.model_dump(), findings_sha256=found)
