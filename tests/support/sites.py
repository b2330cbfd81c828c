"""Sites as an institution sets them up: settings, policy, records, a ledger that was begun."""

from pathlib import Path

from fedloom.client.site.config import SiteConfig, SourceSettings, SplitSettings
from fedloom.client.site.opening import ledger_of
from fedloom.client.site.policy.document import Policy
from fedloom.client.site.service import SiteService
from fedloom.client.training.pool import TrainerPool
from tests.support.tiny import sentences, write_csv
from tests.support.training import LABELS

_SECTION_OF = {
    key: name
    for name, field in Policy.model_fields.items()
    for key in field.annotation.model_fields  # type: ignore[union-attr]
}


def a_policy(**keys: object) -> Policy:
    """The defaults, with `keys` of whichever section they are in."""
    tree = Policy.usual().model_dump()
    for key, value in keys.items():
        tree[_SECTION_OF[key]][key] = value
    return Policy.model_validate(tree)


def a_site_config(home: Path, **changes: object) -> SiteConfig:
    """Site north, everything of it in `home`."""
    fields: dict[str, object] = {
        "name": "north",
        "model": home / "model",
        "state": home / "state",
        "declared_units": 100,
        "labels": LABELS,
        "source": SourceSettings(
            path=home / "records.csv", text="text", label="label", unit="record"
        ),
        "split": SplitSettings(holdout="test", test_fraction=0.2, validation_fraction=0.1),
        "policy": home / "policy.toml",
    }
    return SiteConfig.model_validate(fields | changes)


def a_site(home: Path, *, model: Path, rows: int, **changes: object) -> SiteConfig:
    """Site north with records and a ledger."""
    config = a_site_config(home, model=model, declared_units=rows, **changes)
    write_csv(config.source.path, sentences(rows, seed=1))
    begin(config)
    return config


def begin(config: SiteConfig) -> None:
    """Begin the site's ledger."""
    with ledger_of(config).held(site=config.name):
        pass


def write_settings(config: SiteConfig, policy: Policy) -> Path:
    """The site's two files; the path of the first."""
    config.policy.write_text(policy.to_toml(), encoding="utf-8")
    path = config.policy.with_name("site.toml")
    path.write_text(config.to_toml(), encoding="utf-8")
    return path


def service_of(
    config: SiteConfig, policy: Policy, trainers: TrainerPool | None = None
) -> SiteService:
    """The site's service, in this process, with a process's memory of its own."""
    return SiteService(config, policy, trainers or TrainerPool())
