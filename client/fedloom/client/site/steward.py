"""What a steward does with plans: look at one that waits, and sign for it."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fedloom.client.site.config import SiteConfig, read_site_config
from fedloom.client.site.opening import approvals_of, ledger_of
from fedloom.client.site.policy.asked import Asked, Facts
from fedloom.client.site.policy.document import Policy, read_policy
from fedloom.client.site.policy.rules import check_plan
from fedloom.client.site.reading import in_plain_words
from fedloom.shared.adapter import Adapter, AdapterLayout
from fedloom.shared.model.base import fingerprint
from fedloom.shared.plan import Plan
from fedloom.shared.printable import printable
from fedloom.shared.wire.messages import TrainTask


@dataclass(frozen=True, kw_only=True)
class Steward:
    """The steward of one site."""

    config: SiteConfig
    policy: Policy

    @classmethod
    def of(cls, settings: Path) -> "Steward":
        """Of the site whose settings lie there.

        Raises:
            ConfigError: they or the policy cannot be read.
        """
        config = read_site_config(settings)
        return cls(config=config, policy=read_policy(config.policy))

    def find(self, plan: str) -> Plan:
        """A plan by its file, or one that waits by the beginning of its SHA-256.

        Raises:
            PlanError: there is none, or several.
        """
        path = Path(plan)
        if path.is_file():
            return Plan.from_toml(path.read_text(encoding="utf-8"), source=plan)
        return approvals_of(self.config).find(plan)

    def explain(self, plan: Plan) -> Iterator[str]:
        """The plan in plain words, with what the ledger says of its cost.

        Raises:
            LedgerError: the ledger is not whole.
        """
        spent = ledger_of(self.config).spent()
        # Its names are the coordinator's: they must not paint over what follows them.
        return (printable(line) for line in in_plain_words(plan, self.config, self.policy, spent))

    def check(self, plan: Plan) -> None:
        """Make sure that the policy covers the plan's first round, and its run where it bounds it.

        Raises:
            SiteRefusal: a task of it would be refused, whatever is signed.
            PlanError: it has no part for this site.
        """
        nothing = Adapter(layout=AdapterLayout(()), flat=np.zeros(0, np.float32))
        task = TrainTask(plan=plan, site=self.config.name, round=1, adapter=nothing)
        facts = Facts(
            model_sha256=fingerprint(self.config.model), spent=ledger_of(self.config).spent()
        )
        check_plan(Asked(task=task, config=self.config, policy=self.policy, facts=facts))

    def approve(self, plan: Plan) -> None:
        """Sign for a plan with the site's key.

        Raises:
            LedgerError: the key is lost, locked, or readable by others.
        """
        approvals_of(self.config).approve(plan, ledger_of(self.config).signer())
