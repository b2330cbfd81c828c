"""Tells whoever starts a run what each site has left to spend."""

import logging
from collections.abc import Mapping

from fedloom.server.discovery import FoundSite
from fedloom.server.run.budgets import keep_budgets
from fedloom.server.run.folder import RunFolder
from fedloom.shared.plan import Plan
from fedloom.shared.printable import printable
from fedloom.shared.wire.messages import DeclaredBudget

logger = logging.getLogger("fedloom.server")


def note_found(plan: Plan, folder: RunFolder, sites: Mapping[str, FoundSite]) -> None:
    """Keep beside the run what sites say is left of their budgets, and tell it.

    Raises:
        CheckpointError: what they said before cannot be read.
    """
    keep_budgets(folder.budgets, {name: at.budget for name, at in sites.items()})
    tell_remaining(plan, sites)


def tell_remaining(plan: Plan, sites: Mapping[str, FoundSite]) -> None:
    """One line for each site of the plan that was found, in the plan's order.

    A warning, which is seen without any setting, where it may change the run: something was
    spent before, or less is left than the plan takes. Else, and where the plan promises no
    epsilon, it is for the log alone.
    """
    for site in plan.sites:
        if site.name in sites:
            budget = sites[site.name].budget
            level = logging.WARNING if _matters(plan, site.epsilon, budget) else logging.INFO
            logger.log(level, "site %s: %s", site.name, _said(budget, site.epsilon))


def _matters(plan: Plan, asked: float | None, budget: DeclaredBudget | None) -> bool:
    if not plan.privacy.private or plan.privacy.seeded:
        return False
    return budget is None or budget.epsilon_spent != 0 or _is_short(budget, asked)


def _said(budget: DeclaredBudget | None, asked: float | None) -> str:
    if budget is None:
        return "does not say what is left of its budget"
    # A site's words are a peer's: nothing in them may move the cursor of a terminal.
    said = printable(budget.described)
    if not _is_short(budget, asked):
        return said
    return f"{said}; the plan takes {asked:.2f}, its rounds trained so far included"


def _is_short(budget: DeclaredBudget, asked: float | None) -> bool:
    spent = budget.epsilon_spent
    return asked is not None and spent is not None and asked > budget.epsilon_allowed - spent
