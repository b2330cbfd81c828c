"""What is left of a site's budget, as the site itself declares it."""

from fedloom.client.ledger.spending import Spent
from fedloom.client.site.config import SiteConfig
from fedloom.client.site.policy.document import Policy
from fedloom.shared.privacy.accounting import ACCOUNTANTS
from fedloom.shared.wire.messages import DeclaredBudget


def budget_of(config: SiteConfig, policy: Policy, spent: Spent) -> DeclaredBudget:
    """What is allowed and spent, at the policy's delta; no epsilon if none covers the past."""
    covered = not (spent.without_privacy or spent.seeded) and spent.units <= {config.source.unit}
    return DeclaredBudget(
        unit=config.source.unit,
        delta=policy.budget.delta,
        epsilon_allowed=policy.budget.epsilon,
        epsilon_spent=ACCOUNTANTS["prv"](spent.history, policy.budget.delta) if covered else None,
    )
