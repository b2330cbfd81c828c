"""`fedloom site init`: a new site's settings, policy, key and ledger, begun once."""

import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from fedloom.client.ledger.ledger import Ledger
from fedloom.client.site.commented import commented
from fedloom.client.site.config import KeySettings, ServiceSettings, SiteConfig
from fedloom.client.site.new_site import POLICY, SITE, Counted, NewSite, counted, public_size
from fedloom.client.site.notes import POLICY_NOTES, POLICY_OPENING, SITE_NOTES, SITE_OPENING
from fedloom.client.site.opening import ledger_of
from fedloom.client.site.policy.document import AllowSection, Policy
from fedloom.shared.errors import ConfigError, LedgerError
from fedloom.shared.files import OWNER_ONLY, make_folder, write_durably
from fedloom.shared.kits.authority import new_pair
from fedloom.shared.model.base import fingerprint

_LEFT = (
    "left as it is: change it there, or, if nobody was told of it yet and nothing was spent, "
    "remove the folder"
)


@dataclass(frozen=True, kw_only=True)
class BegunSite:
    """A site that was begun; `counted` is what it trains on, if it was, for its eyes alone."""

    wanted: NewSite
    public_key: str
    declared_units: int
    counted: Counted | None

    def lines(self) -> Iterator[str]:
        """What its steward is told: the key, what is public, and what comes next."""
        folder = self.wanted.folder
        site, policy = (shlex.quote(str(folder / name)) for name in (SITE, POLICY))
        yield f"began site {self.wanted.name} in {folder}"
        yield f"ledger key      {self.public_key}"
        yield "                tell it to coordinators and auditors by a way that they trust"
        yield f"declared units  {self.declared_units:,}{self._counted()}"
        yield "                PUBLIC: each coordinator is told this number"
        if self.counted is not None and self.counted.left_out:
            yield f"note            {self.counted.left_out}"
        yield "next"
        yield f"  edit {policy}: what the site allows, and how much it will ever spend"
        yield f"  fedloom site check {site}"
        yield f"  fedloom site serve {site}"
        yield f"  or, to join others between machines, fedloom site request {site}"

    def _counted(self) -> str:
        if self.counted is None:
            return ""
        return f" ({self.counted.units:,} training units counted, rounded down to two digits)"


def begin_site(wanted: NewSite) -> BegunSite:
    """Write a site's two files, and begin its ledger with its key.

    Guarantee: nothing is written unless all of it was found in order; nothing that is there is
    written over, so no budget begins anew. The labels are as given, never read from the records.

    Raises:
        LedgerError: there is a site already, or others can read the passphrase.
        ConfigError: no labels, a name that is none, or a file that is missing.
        DataError: the records cannot be read, or few of them can be trained on.
        ModelError: there is no whole base model.
    """
    _check_new(wanted.folder)
    config = wanted.settings()
    _check_new_ledger(config.state)
    ledger = _ledger(config)
    policy = Policy.usual(AllowSection(models=(fingerprint(config.model),)))
    found = counted(config) if wanted.units is None else None
    if found is not None:
        config = config.model_copy(update={"declared_units": public_size(found.units)})
    _write(wanted.folder.absolute(), config, policy)
    with ledger.held(site=config.name):
        key = ledger.signer().public
    return BegunSite(
        wanted=wanted, public_key=key, declared_units=config.declared_units, counted=found
    )


def _check_new(folder: Path) -> None:
    for path in (folder / SITE, folder / POLICY):
        if path.exists():
            raise LedgerError(f"{path}: exists already, and a site is begun once; {_LEFT}")


def _check_new_ledger(state: Path) -> None:
    if state.exists() and any(state.iterdir()):
        raise LedgerError(f"{state}: holds a ledger, and one is begun once; {_LEFT}")


def _ledger(config: SiteConfig) -> Ledger:
    ledger, path = ledger_of(config), config.key.passphrase_file
    # An empty passphrase would leave the key in the clear, and then not open it.
    if path is not None and not path.read_bytes().strip():
        raise ConfigError(str(path), ["empty, expected the passphrase of the site's key"])
    return ledger


def _write(home: Path, config: SiteConfig, policy: Policy) -> None:
    if not home.exists():
        make_folder(home)
    written = _relative_to(home, config)
    write_certificates(config)
    for name, text in (
        (POLICY, commented(policy, POLICY_NOTES, opening=POLICY_OPENING)),
        (SITE, commented(written, SITE_NOTES, opening=SITE_OPENING)),
    ):
        write_durably(home / name, text.encode(), mode=OWNER_ONLY)


def write_certificates(config: SiteConfig) -> None:
    """What service and relay know each other by, where they speak on loopback."""
    service, relay = config.service.tls, config.service.relay_tls
    if service is None or relay is None:
        return
    pair = new_pair(f"site {config.name}")
    for folder, end, name in ((service, pair.service, "service"), (relay, pair.relay, "relay")):
        make_folder(folder)
        write_durably(folder / "ca.pem", pair.authority)
        write_durably(folder / f"{name}.pem", end.certificate)
        write_durably(folder / f"{name}.key", end.key, mode=OWNER_ONLY)


def _relative_to(home: Path, config: SiteConfig) -> SiteConfig:
    """With paths in `home` relative to it, so that the folder can be moved."""

    def near(path: Path) -> Path:
        return path.relative_to(home) if path.is_relative_to(home) else path

    passphrase = config.key.passphrase_file
    return config.model_copy(
        update={
            "model": near(config.model),
            "state": near(config.state),
            "policy": near(config.policy),
            "source": config.source.model_copy(update={"path": near(config.source.path)}),
            "key": KeySettings(passphrase_file=passphrase and near(passphrase)),
            "service": ServiceSettings(
                address=config.service.address,
                tls=config.service.tls and near(config.service.tls),
                relay_tls=config.service.relay_tls and near(config.service.relay_tls),
            ),
        }
    )
