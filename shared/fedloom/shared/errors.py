"""Every error that FedLoom raises on purpose.

    FedLoomError
    ├── ConfigError        a federation or site file is wrong; all problems at once
    ├── PlanError          a plan cannot be made, or is not the one that was agreed
    ├── DataError          a record source is wrong; names file, row and column, never a value
    ├── ModelError         the base model or an adapter cannot be used
    ├── AssetError         a demo asset is missing or is not what was pinned
    ├── WireError          bytes from a peer are not what the protocol says
    ├── UpdateRejected     an update broke the server's checks
    ├── SiteRefusal        the site's own policy says no; the server learns the rule's name alone
    ├── TrainingError      local training cannot go on
    ├── LedgerError        a ledger is damaged, tampered with or missing
    ├── CredentialError    a key, certificate or kit is missing, open to others, or another's
    ├── DeployError        a process or service of a deployment cannot be had
    ├── RunFolderError     a run folder exists already, or is not one
    ├── EvaluationError    a suite cannot be run, or an evaluation cannot be read
    │   └── BrokenModelError    a model's answers are no numbers; no audit can measure it
    ├── ReleaseError       a release cannot be made, or is not what its signature covers
    ├── CheckpointError    a checkpoint is truncated or belongs to another plan
    └── QuorumError        too few sites answered

Each message is one line for people: what, where, what was expected.
"""

from collections.abc import Sequence

from fedloom.shared.printable import printable


class FedLoomError(Exception):
    """Base of all errors that are FedLoom's own."""


class ConfigError(FedLoomError):
    """A file that people wrote is wrong. `problems` has one line for each mistake."""

    def __init__(self, source: str, problems: Sequence[str]) -> None:
        self.source = source
        self.problems = tuple(problems)
        if len(self.problems) == 1:
            super().__init__(f"{source}: {self.problems[0]}")
        else:
            heading = f"{source}: {len(self.problems)} problems"
            super().__init__("\n  ".join([heading, *self.problems]))


class PlanError(FedLoomError):
    """A plan cannot be made from a config, or differs from the agreed one."""


class DataError(FedLoomError):
    """A record source is wrong. Names file, row and column; never a record's value."""


class ModelError(FedLoomError):
    """A base model or adapter folder cannot be used."""


class AssetError(FedLoomError):
    """A demo asset is missing or does not have its pinned hash."""


class WireError(FedLoomError):
    """A peer's bytes do not follow the protocol."""


class UpdateRejected(FedLoomError):
    """An update that arrived broke a check of the server's: shape, finiteness or norm."""


class SiteRefusal(FedLoomError):
    """The site's policy refuses a task.

    The whole message stays at the site; `rule` is all that the server is told.
    """

    def __init__(self, rule: str, *, asked: object, allowed: object) -> None:
        self.rule = rule
        told = f"asked {printable(asked)}, allowed {printable(allowed)}"
        super().__init__(f"refused by rule {rule}: {told}")


class TrainingError(FedLoomError):
    """Local training cannot go on; the message never depends on a record's content."""


class LedgerError(FedLoomError):
    """A site's ledger cannot be trusted or written; a person must look before it trains on."""


class CredentialError(FedLoomError):
    """A key, certificate or kit is missing, open to others, damaged, or not the party's."""


class DeployError(FedLoomError):
    """A process or service that a deployment needs cannot be had."""


class RunFolderError(FedLoomError):
    """A run folder exists already, is locked by another process, or is not a run folder."""


class EvaluationError(FedLoomError):
    """A suite cannot be run on an adapter, or an evaluation cannot be read."""


class BrokenModelError(EvaluationError):
    """A model's answers are NaN or infinite: nothing that any audit says of it would hold."""


class ReleaseError(FedLoomError):
    """A release cannot be made, or is not what its signature covers."""


class CheckpointError(FedLoomError):
    """A checkpoint is damaged or belongs to another plan."""


class QuorumError(FedLoomError):
    """Fewer sites answered a round than the plan's quorum. `what` is short of `faults`, which
    names each site that is missing; neither says what comes next."""

    def __init__(self, round_number: int, *, accepted: int, quorum: int, faults: str) -> None:
        self.round_number = round_number
        self.what = f"round {round_number}: {accepted} of {quorum} needed updates accepted"
        self.faults = faults
        super().__init__(
            f"{self.what} ({faults}); nothing durable was lost, --resume goes on from the last "
            "round"
        )
