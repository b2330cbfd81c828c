"""A federation with canaries among its records, as a federation of its own."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from fedloom.server.planning import make_plan
from fedloom.shared.config.data import SiteSection
from fedloom.shared.config.federation import FederationConfig
from fedloom.shared.data.records import RECORD_UNIT, Record, RecordSource, read_records
from fedloom.shared.files import OWNER_ONLY, write_durably
from fedloom.simulation.auditing.canaries import Dealt
from fedloom.simulation.prepare import Prepared, decided_as_before, source_of


def planted(prepared: Prepared, dealt: Dealt, folder: Path) -> Prepared:
    """The federation whose sites have, beside their own records, the canaries put in there.

    Half of the canaries that had a coin are added to the size that their site declares: the
    number that came in depends on the coins, which nothing public may. All else is as in
    `prepared`; noise is found anew for the new size. The sites' records and canaries are written
    to `folder`, the owner's alone.

    Raises:
        DataError: a source cannot be read.
        PlanError: the numbers do not fit together any more.
    """
    config = prepared.config
    sites = tuple(
        _with(config, site, dealt.put_in(site.name), folder) if site.name in dealt.sites else site
        for site in config.data.sites
    )
    units = {
        site.name: site.declared_units + dealt.homes.count(site.name) // 2
        for site in prepared.plan.sites
    }
    data = config.data.model_copy(update={"sites": sites})
    config = decided_as_before(config.model_copy(update={"data": data}), prepared.plan)
    plan = make_plan(config, model=prepared.model, units=units)
    return replace(prepared, config=config, plan=plan)


def _with(
    config: FederationConfig, site: SiteSection, canaries: Sequence[Record], folder: Path
) -> SiteSection:
    source = source_of(config, site)
    records = read_records(source, labels=config.task.labels)
    rows = (_row(record, source) for record in (*records, *canaries))
    content = "".join(json.dumps(row) + "\n" for row in rows)
    path = folder / f"{site.name}.jsonl"
    write_durably(path, content.encode(), mode=OWNER_ONLY)
    return site.model_copy(update={"path": path})


def _row(record: Record, source: RecordSource) -> Mapping[str, object]:
    """A record as a row that reads back to it."""
    # The group goes first: where its column is the label's or the unit's too, theirs counts.
    row: dict[str, object] = {} if source.group is None else {source.group: record.group}
    if source.messages is None:
        row |= {source.text: record.text, source.label: record.answer}
    else:
        turns = [{"role": turn.role, "content": turn.content} for turn in record.turns]
        row[source.messages] = [*turns, {"role": "assistant", "content": record.answer}]
    return row if source.unit == RECORD_UNIT else {**row, source.unit: record.unit}
