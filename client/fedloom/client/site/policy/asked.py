"""A task as the rules see it, beside what the site itself knows."""

from dataclasses import dataclass

from fedloom.client.ledger.spending import Spent
from fedloom.client.site.config import SiteConfig
from fedloom.client.site.policy.document import Policy
from fedloom.shared.plan import Plan, SitePlan
from fedloom.shared.privacy.accounting import ACCOUNTANTS, Mechanism
from fedloom.shared.privacy.mechanisms import mechanisms_of
from fedloom.shared.wire.messages import TrainTask


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What the site knows: its model's fingerprint, and every charge but the task's own."""

    model_sha256: str
    spent: Spent


@dataclass(frozen=True, kw_only=True)
class Asked:
    """One task, and everything that decides about it. None of it depends on a record."""

    task: TrainTask
    config: SiteConfig
    policy: Policy
    facts: Facts

    @property
    def plan(self) -> Plan:
        """The plan that the task is a round of."""
        return self.task.plan

    @property
    def site(self) -> SitePlan:
        """The plan's numbers for this site.

        Raises:
            PlanError: it has none.
        """
        return self.plan.site(self.config.name)

    @property
    def run_steps(self) -> int:
        """How many steps the plan's rounds take together, whatever it says itself."""
        return self.plan.training.steps_through(self.last_round)

    @property
    def last_round(self) -> int:
        """How many rounds the plan has."""
        return self.plan.rounds.total

    def epsilon_of_run(self) -> float:
        """What the plan's whole run costs by itself."""
        return self._epsilon(mechanisms_of(self.plan, self.site, range(1, self.last_round + 1)))

    def epsilon_after(self) -> float:
        """What the site will have spent in all once this round is released."""
        this_round = mechanisms_of(self.plan, self.site, (self.task.round,))
        return self._epsilon((*self.facts.spent.history, *this_round))

    def _epsilon(self, history: tuple[Mechanism, ...]) -> float:
        return ACCOUNTANTS[self.plan.privacy.accountant](history, self.plan.privacy.delta)
