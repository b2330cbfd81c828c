"""The state folder: its key, its ledger, approvals, and whether a service holds it now."""

from collections.abc import Iterator

from fedloom.client.ledger.ledger import Ledger
from fedloom.client.ledger.spending import Spent, spent_of
from fedloom.client.site.budget import budget_of
from fedloom.client.site.checks.finding import Seen, Site, good, mode_of, problem, warning
from fedloom.client.site.locks import SERVING_LOCK
from fedloom.client.site.opening import approvals_of, ledger_of
from fedloom.client.site.policy.document import MANUAL
from fedloom.shared.errors import FedLoomError
from fedloom.shared.keys import SigningKey
from fedloom.shared.locks import is_locked
from fedloom.shared.words import count

_NOT_OWNERS = 0o077


def look_at_state(site: Site) -> Iterator[Seen]:
    """The folder is there, and the owner's alone."""
    folder = site.config.state
    if not folder.is_dir():
        yield problem(
            f"{folder}: no such folder; if this site trained before, put the newest copy back; "
            "if it never did, begin a site in another folder with fedloom site init"
        )
        return
    mode = mode_of(folder)
    if mode & _NOT_OWNERS:
        yield problem(f"{folder}: mode {mode:o} lets others in, expected 700, owner only")
    else:
        yield good(f"{folder}, owner only")


def look_at_key(site: Site) -> Iterator[Seen]:
    """The signing key can be used.

    Raises:
        ConfigError, LedgerError: it, or its passphrase, is missing, wrong, or open to others.
    """
    signer = ledger_of(site.config).signer()
    locked = "with" if site.config.key.passphrase_file else "without"
    yield good(f"ledger key {signer.public}, {locked} a passphrase")


def look_at_ledger(site: Site) -> Iterator[Seen]:
    """The chain is whole, it is this site's, and what is spent.

    Raises:
        LedgerError: it is lost or not whole.
    """
    if _signer(site) is None:
        yield problem("cannot be verified without the key")
        return
    chain = _ledger(site).chain()
    if chain.opening.site != site.config.name:
        whose = f"{chain.opening.site}, expected {site.config.name}"
        yield problem(f"it is the ledger of site {whose}: is state in site.toml right?")
    yield good(f"whole and signed: {count(chain.length, 'entry', 'entries')}")
    yield _spending(site, spent_of(chain.story))
    waiting = [entry for entry in chain.story.standing if entry.event == "reserved"]
    if waiting:
        yield good(f"{count(len(waiting), 'round')} reserved, not released: counted as spent")


def look_at_approvals(site: Site) -> Iterator[Seen]:
    """How plans come to train, which wait, and that what was approved is signed by this site.

    Raises:
        PlanError: a plan that waits is damaged.
    """
    mode = site.policy.approval.mode
    manual = "each plan waits for fedloom site approve"
    yield good(manual if mode == MANUAL else "plans within the policy train without asking")
    waiting = approvals_of(site.config).waiting()
    if waiting:
        names = ", ".join(plan.sha256[:12] for plan in waiting)
        yield warning(f"{count(len(waiting), 'plan')} waiting for a steward: {names}")
    signer = _signer(site)
    if signer is not None:
        yield from map(problem, approvals_of(site.config).faults(signer.public))


def look_at_service(site: Site) -> Iterator[Seen]:
    """Whether a trainer service runs now, by the locks that it holds."""
    ours, records = site.config.state / SERVING_LOCK, site.config.source.path
    if is_locked(ours):
        yield good("a trainer service runs now for this site")
    elif is_locked(records):
        yield problem(
            f"{records}: served by another state folder's service now; "
            "each would spend the whole budget on the same records"
        )
    else:
        yield good("no trainer service runs now")


def _ledger(site: Site) -> Ledger:
    return ledger_of(site.config)


def _signer(site: Site) -> SigningKey | None:
    """The key, or None; what is wrong with it has a line of its own."""
    try:
        return _ledger(site).signer()
    except FedLoomError:
        return None


def _spending(site: Site, spent: Spent) -> Seen:
    budget = budget_of(site.config, site.policy, spent)
    if budget.epsilon_spent is None:
        simulated = site.policy.allow.seeded_noise or site.policy.allow.without_privacy
        return (warning if simulated else problem)(budget.described)
    used_up = budget.epsilon_spent >= budget.epsilon_allowed
    if used_up:
        return problem(f"{budget.described}: every private plan would be refused")
    return good(budget.described)
