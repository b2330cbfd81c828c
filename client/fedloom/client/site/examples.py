"""A site's records as a plan's model sees them, kept for the length of a run."""

import logging
from pathlib import Path

from fedloom.client.site.checks.records import rows_of
from fedloom.client.site.config import SiteConfig
from fedloom.client.training.hidden_states import Hidden
from fedloom.client.training.trainer import Trainer
from fedloom.client.training.units import TrainingUnits
from fedloom.shared.data.records import RECORD_UNIT, BadRow, Record, group_by_unit
from fedloom.shared.plan import Plan
from fedloom.shared.words import count

logger = logging.getLogger("fedloom.site")


class SiteExamples:
    """Encoded records by privacy unit, and what the frozen part of the model gives for them.

    Holds the last plan's and phase's only.
    """

    def __init__(self, config: SiteConfig) -> None:
        self._config = config
        self._units: dict[str, TrainingUnits] = {}
        self._held_out: dict[str, TrainingUnits] = {}
        self._hidden: dict[str, tuple[TrainingUnits, Hidden | None]] = {}

    def units(self, plan: Plan, trainer: Trainer) -> TrainingUnits:
        """The records to train on, read once; a row that is no record is left out."""
        key = self._key(plan)
        if key not in self._units:
            kept = self._config.record_split().training(self._usable_records(plan))
            self._units = {key: trainer.encode_to_train(kept, self._groups(kept))}
        return self._units[key]

    def held_out(self, plan: Plan, trainer: Trainer) -> TrainingUnits:
        """The records to measure on, which never train, likewise."""
        key = self._key(plan)
        if key not in self._held_out:
            kept = self._config.record_split().held_out(self._usable_records(plan))
            self._held_out = {key: trainer.encode(kept, self._groups(kept))}
        return self._held_out[key]

    def hidden(self, plan: Plan, trainer: Trainer, units: TrainingUnits) -> Hidden | None:
        """Hidden states of `units`, where computing them once is less than what training would."""
        site, prefix = plan.site(self._config.name), trainer.prefix_name
        # By public numbers: what a server could time must not tell the true ones.
        if prefix is None or trainer.phase.steps * site.sample_rate <= 1:
            return None
        key = f"{plan.sha256}/{prefix}"
        if key not in self._hidden or self._hidden[key][0] is not units:
            records = 1 if plan.privacy.unit == RECORD_UNIT else plan.privacy.unit_cap
            rows = plan.mitigation.rows if plan.mitigation else 1
            found = trainer.hidden_states(
                units.examples,
                self._folder,
                expected=site.declared_units * records * rows,
                max_bytes=self._config.cache.max_bytes,
            )
            # One phase's are of no use to another, and a plan that was given up left its own.
            self._delete_files(but=None if found is None else found.path)
            self._hidden = {key: (units, found)}
        return self._hidden[key][1]

    def _key(self, plan: Plan) -> str:
        """By the file as it is now: a person who was taken out of it trains no longer."""
        state = self._config.source.path.stat()
        return f"{plan.sha256}/{state.st_ino}/{state.st_size}/{state.st_mtime_ns}"

    def drop_hidden(self) -> None:
        """Delete the hidden states, unless the settings keep them."""
        self._hidden = {}
        self._delete_files(but=None)

    def _groups(self, records: list[Record]) -> tuple[tuple[int, ...], ...]:
        return group_by_unit(records, unit=self._config.source.unit)

    def _delete_files(self, *, but: Path | None) -> None:
        if not self._config.cache.keep:
            for path in self._folder.glob("hidden-*"):
                if path != but:
                    path.unlink()

    @property
    def _folder(self) -> Path:
        return self._config.cache.folder or self._config.state / "cache"

    def _usable_records(self, plan: Plan) -> list[Record]:
        rows = rows_of(self._config.record_source(), labels=plan.task.labels)
        bad = [row for row in rows if isinstance(row, BadRow)]
        if bad:
            # To refuse here would tell the server that one record is not like the others.
            first = f"row {bad[0].row}, column {bad[0].column}: {bad[0].problem}"
            name = self._config.name
            logger.warning("%s: %s left out, the first at %s", name, count(len(bad), "row"), first)
        return [row for row in rows if isinstance(row, Record)]
