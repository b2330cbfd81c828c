"""What a suite's file and a command say alike of records; light, so that commands start fast."""

from pathlib import Path

from fedloom.shared.config.values import Section, Unit
from fedloom.shared.data.records import RECORD_UNIT


class RecordsSection(Section):
    """`[records]`: labelled records to evaluate on, where no simulation brings its own.

    `site` and each of `groups` name columns whose values part the records; `unit` the column that
    says whose each record is, or `record`: every row is by itself, as where nothing is said.
    """

    path: Path
    text: str = "text"
    label: str = "label"
    messages: str | None = None
    site: str | None = None
    groups: tuple[str, ...] = ()
    unit: Unit | None = None

    @property
    def whose(self) -> str:
        """The unit: what is said, or each row."""
        return self.unit or RECORD_UNIT
