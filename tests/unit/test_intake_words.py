"""What a coordinator reads of a site that did not take part."""

from pathlib import Path

import pytest
from flwr.app.message import make_message
from flwr.app.metadata import Metadata

from fedloom.server.aggregation.registry import AGGREGATORS
from fedloom.server.asked import Reply
from fedloom.server.intake import BY_THE_SITE, Intake
from fedloom.server.run.heads import HeadBook
from fedloom.shared.wire.envelope import Envelope
from fedloom.shared.wire.flower import to_records
from fedloom.shared.wire.messages import RefusalHeader
from tests.support.plans import a_plan, an_adapter


@pytest.mark.parametrize(
    ("rule", "own", "words"),
    [
        ("epsilon", True, "refused: epsilon"),
        # Nothing is wrong with such a plan: a person is to look at it.
        ("approval", True, "waits for its steward (approval)"),
        ("approval", False, "its relay says: approval"),
    ],
)
def test_a_sites_own_no_is_told_by_its_rule(
    tmp_path: Path, rule: str, own: bool, words: str
) -> None:
    plan, current = a_plan(), an_adapter()
    name = plan.sites[0].name
    aggregator = AGGREGATORS[plan.aggregation.method]()
    heads = HeadBook(tmp_path / "heads.json")
    intake = Intake(plan, 1, current, aggregator, heads=heads, is_from=lambda *_: own)
    answer = Envelope(frame=RefusalHeader(site=name, rule=rule).frame())
    metadata = Metadata(
        run_id=1, message_id="m", src_node_id=7, dst_node_id=1, reply_to_message_id="q",
        group_id="", created_at=1.0, ttl=60.0, message_type="train",
    )  # fmt: skip
    intake.take(Reply(site=name, message=make_message(metadata, content=to_records(answer))))
    assert intake.outcomes()[0].fault == words
    assert intake.outcomes()[0].refused_by == (rule if own else None)
    assert bool(BY_THE_SITE.search(intake.faults())) == own
