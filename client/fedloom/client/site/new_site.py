"""What a person says of a new site, as the settings that follow from it."""

from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from fedloom.client.site.checks.records import first_of, rows_of
from fedloom.client.site.config import (
    KeySettings,
    NodeSettings,
    ServiceSettings,
    SiteConfig,
    SourceSettings,
    SplitSettings,
)
from fedloom.shared.config.data import EvaluationSection
from fedloom.shared.config.problems import explain
from fedloom.shared.data.records import RECORD_UNIT, BadRow, Record, count_units
from fedloom.shared.errors import ConfigError, DataError
from fedloom.shared.words import count

SITE, POLICY, STATE = "site.toml", "policy.toml", "state"


@dataclass(frozen=True, kw_only=True)
class NewSite:
    """A site that is to be begun in `folder`. Without `units` they are counted and rounded.

    With `two_users` the service and the Flower node speak on loopback, so that the node can be
    run by a user who may not read the records.
    """

    folder: Path
    name: str
    records: Path
    model: Path
    text: str = "text"
    label: str = "label"
    unit: str = RECORD_UNIT
    labels: tuple[str, ...] | None = None
    units: int | None = None
    passphrase_file: Path | None = None
    two_users: bool = False

    def settings(self) -> SiteConfig:
        """The settings, with absolute paths; `declared_units` is as given, or 1 until counted.

        Raises:
            ConfigError: no labels, a name that is none, or no file of records.
        """
        home = self.folder.absolute()
        if not self.records.is_file():
            raise ConfigError(str(self.records), ["no such file, expected the site's records"])
        passphrase = self.passphrase_file
        try:
            return SiteConfig(
                name=self.name,
                model=self.model.absolute(),
                state=home / STATE,
                declared_units=1 if self.units is None else self.units,
                labels=self._checked_labels(),
                source=self._source(),
                split=_usual_split(),
                policy=home / POLICY,
                key=KeySettings(passphrase_file=passphrase and passphrase.absolute()),
                service=self._service(home),
            )
        except ValidationError as error:
            raise ConfigError(str(self.folder / SITE), explain(error, SiteConfig)) from error

    def _service(self, home: Path) -> ServiceSettings:
        if not self.two_users:
            return ServiceSettings()
        address = f"127.0.0.1:{NodeSettings().service_port}"
        return ServiceSettings(
            address=address, tls=home / "service-tls", relay_tls=home / "link" / "relay-tls"
        )

    def _source(self) -> SourceSettings:
        return SourceSettings(
            path=self.records.absolute(), text=self.text, label=self.label, unit=self.unit
        )

    def _checked_labels(self) -> tuple[str, ...]:
        labels, site = self.labels, str(self.folder / SITE)
        # A plan's labels are compared with these: read from the records, they would tell of them.
        if labels is None:
            problem = (
                "labels: missing; give the classes that the federation agreed on, in its order: "
                '--labels negative,positive (or --labels "" if any text is an answer)'
            )
            raise ConfigError(site, [problem])
        if len(labels) == 1 or len(set(labels)) < len(labels):
            problem = f"labels: got {', '.join(labels)}, expected at least 2, each once"
            raise ConfigError(site, [problem])
        return labels


def _usual_split() -> SplitSettings:
    usual = EvaluationSection()
    return SplitSettings(
        holdout=usual.holdout,
        test_fraction=usual.test_fraction,
        validation_fraction=usual.validation_fraction,
    )


@dataclass(frozen=True, kw_only=True)
class Counted:
    """What a site has to train on, exactly: for its own eyes alone. `left_out` says which rows
    are not, in words; empty if all are."""

    units: int
    left_out: str


def counted(config: SiteConfig) -> Counted:
    """Read the records, and count what can be trained on.

    Raises:
        DataError: the file cannot be read, or most of its rows are not what the settings say.
    """
    source = config.record_source()
    rows = rows_of(source, labels=config.labels)
    usable = [row for row in rows if isinstance(row, Record)]
    bad = [row for row in rows if isinstance(row, BadRow)]
    left_out = f"{len(bad):,} of {count(len(rows), 'row')} left out, {first_of(bad)}" if bad else ""
    units = count_units(config.record_split().training(usable), unit=source.unit)
    if not units:
        why = first_of(bad) if bad else "the table has too few"
        raise DataError(f"{source.path}: no row to train on; {why}")
    if len(bad) > len(usable):
        # A mistyped label would else begin a site of the few others.
        raise DataError(f"{source.path}: {left_out}; expected most rows to be records")
    return Counted(units=units, left_out=left_out)


def public_size(units: int) -> int:
    """Rounded down to two significant digits: what a site tells need not be exact."""
    step: int = 10 ** max(0, len(str(units)) - 2)
    return units // step * step
