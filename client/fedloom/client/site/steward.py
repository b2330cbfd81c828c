"""What a steward does with plans: look at one that waits, sign for it, take that back."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fedloom.client.site.config import SiteConfig, read_site_config
from fedloom.client.site.opening import approvals_of, ledger_of
from fedloom.client.site.policy.asked import Asked, Facts
from fedloom.client.site.policy.document import MANUAL, Policy, read_policy
from fedloom.client.site.policy.rules import check_plan
from fedloom.client.site.reading import in_plain_words
from fedloom.client.site.signed import Approval
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

    def approved(self, plan: str) -> Approval | None:
        """The approval that a plan has already, by its file or the beginning of its SHA-256.

        Raises:
            PlanError: the file is no plan.
            LedgerError: there is an approval, but not this site's own.
        """
        approvals = approvals_of(self.config)
        names = approvals.named(self.find(plan).sha256 if Path(plan).is_file() else plan)
        # Of several, the one that waits may be meant.
        if len(names) != 1:
            return None
        return approvals.approval(names[0], ledger_of(self.config).signer().public)

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

    def withdraw(self, plan: str) -> Iterator[str]:
        """Take back an approval, or have a plan wait no longer; what that means, a line each.

        Raises:
            PlanError: nothing of that name waits or was approved.
        """
        withdrawn = approvals_of(self.config).withdraw(plan)
        yield f"withdrawn: plan {withdrawn}; if it is asked for again, it waits again"
        if self.policy.approval.mode != MANUAL:
            yield f"note: under approval.mode {self.policy.approval.mode} it trains without one"
