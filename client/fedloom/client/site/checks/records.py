"""The records: there, readable, as many as declared. Rows and columns are named, never a value."""

from collections.abc import Callable, Iterator, Sequence

from fedloom.client.site.checks.finding import Seen, Site, good, problem, warning
from fedloom.shared.data.records import (
    BadRow,
    Record,
    RecordSource,
    count_units,
    read_rows,
)
from fedloom.shared.data.tables import read_table
from fedloom.shared.errors import DataError
from fedloom.shared.words import count

# Sampling follows the declared number; beyond this the true number makes another batch of it.
_FAR_APART = 0.1


def look_at_records(site: Site) -> Iterator[Seen]:
    """Rows that are usable, then their units and labels.

    Raises:
        DataError: file or columns missing, or a file that cannot be read.
    """
    rows = rows_of(site.config.record_source(), labels=site.config.labels)
    usable = [row for row in rows if isinstance(row, Record)]
    bad = [row for row in rows if isinstance(row, BadRow)]
    yield from _usable(usable, bad)
    # Of no rows there is nothing else to say: what follows would be the same mistake again.
    for look in _LOOKS if usable else ():
        yield from look(site, usable)


def first_of(bad: Sequence[BadRow]) -> str:
    """Where the first row that is no record stands, and what is wrong with it."""
    return f"the first at row {bad[0].row}, column {bad[0].column}: {bad[0].problem}"


def rows_of(source: RecordSource, *, labels: tuple[str, ...]) -> list[Record | BadRow]:
    """As `read_rows`, but with no column named that was not asked for.

    Raises:
        DataError: file or columns missing, or a file that cannot be read.
    """
    try:
        return read_rows(source, labels=labels)
    except DataError as error:
        # Its own text lists the columns there are; without a header those are a record.
        raise DataError(_unreadable(source)) from error


def _unreadable(source: RecordSource) -> str:
    columns = read_table(source.path).columns
    missing = [name for name in source.columns if name not in columns]
    alike = [
        f"{found!r} for {name}"
        for name in missing
        for found in columns
        if found.strip().casefold() == name.casefold()
    ]
    hint = f"there is {', '.join(alike)}" if alike else "is the header there?"
    names = count(len(columns), "name")
    return f"{source.path}: no column {', '.join(missing)} among the {names} of its header; {hint}"


def _usable(usable: Sequence[Record], bad: Sequence[BadRow]) -> Iterator[Seen]:
    if not usable:
        first = f", {first_of(bad)}" if bad else ""
        yield problem(f"none of {count(len(bad), 'row')} is usable{first}")
        return
    yield good(f"{count(len(usable), 'row')} usable")
    if bad:
        yield warning(f"{count(len(bad), 'row')} left out, {first_of(bad)}")


def _units(site: Site, usable: Sequence[Record]) -> Iterator[Seen]:
    unit, declared = site.config.source.unit, site.config.declared_units
    units = count_units(site.config.record_split().training(usable), unit=unit)
    found = f"{count(units, 'training unit')} (by {unit}), declared_units is {declared:,}"
    if abs(units - declared) > _FAR_APART * declared:
        yield warning(f"{found}: more than {_FAR_APART:.0%} apart; batches follow the declared one")
    else:
        yield good(found)
    least = site.policy.budget.min_units
    if units < least:
        yield problem(f"{count(units, 'training unit')}, expected budget.min_units = {least:,}")


def _labels(site: Site, usable: Sequence[Record]) -> Iterator[Seen]:
    labels = site.config.labels
    if not labels:
        yield good("no labels: any text is an answer")
        return
    if len(labels) < 2 or len(set(labels)) < len(labels):
        yield problem(f"labels are {', '.join(labels)}; expected at least 2, each once")
    seen = {record.answer for record in usable}
    unseen = [label for label in labels if label not in seen]
    if unseen:
        yield warning(f"no usable row has the label {', '.join(unseen)}")
    else:
        yield good(f"each of the {len(labels)} labels occurs")


_LOOKS: Sequence[Callable[[Site, Sequence[Record]], Iterator[Seen]]] = (_units, _labels)
