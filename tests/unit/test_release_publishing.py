"""What no epsilon covers and no rule needs stays with the run: names and texts out of records."""

import json
from collections.abc import Iterator, Sequence

import pytest

from fedloom.server.evaluator.audits.groups import Groups, GroupsOptions
from fedloom.server.evaluator.audits.validation import Validation, ValidationOptions
from fedloom.server.evaluator.corpus import Corpus
from fedloom.server.evaluator.findings import AuditFindings, Shown, Span
from fedloom.server.release.publishing import published_evaluation
from fedloom.shared.data.records import Record
from tests.support.released import an_audit, an_evaluation
from tests.support.subjects import a_classifier

RARE, TEXT = "Anna Meier", "lives in Ward Seven"


def a_corpus(groups: Sequence[str], *, sites: int) -> Corpus:
    """A record of each group named, over sites; each record has the text."""
    records = [
        Record(text=f"{at // 2 % 2} {TEXT} {at}", label=at % 2, unit="")
        for at in range(len(groups))
    ]
    share = len(records) // sites
    tests = {f"site{at}": tuple(records[at * share :][:share]) for at in range(sites)}
    return Corpus(tests=tests, groups={"doctor": tuple(groups)})


def found_in(corpus: Corpus) -> list[AuditFindings]:
    """Of the two audits that read records' groups, sites and labels; with a record shown."""
    says = a_classifier(lambda text: [0.1, 0.9] if text.startswith("1") else [0.9, 0.1])
    groups = Groups(GroupsOptions(min_group=10, resamples=20, mentions=False))
    why_not = groups.why_not(says, corpus)
    one = an_audit("groups", why_not=why_not) if why_not else groups.measure(says, corpus).findings
    validation = Validation(ValidationOptions(resamples=100)).measure(says, corpus).findings
    shown = Shown(title=RARE, spans=(Span(text=TEXT),), facts=((RARE, TEXT),), note=TEXT)
    return [each.model_copy(update={"shown": (shown,)}) for each in (one, validation)]


def strings(tree: object) -> Iterator[str]:
    """Every key and every text of JSON."""
    if isinstance(tree, str):
        yield tree
    elif isinstance(tree, list):
        for each in tree:
            yield from strings(each)
    elif isinstance(tree, dict):
        yield from tree
        for each in tree.values():
            yield from strings(each)


CORPORA = {
    "among common groups": a_corpus(["A", "B"] * 18 + [RARE] * 4, sites=2),
    "beside one common group": a_corpus(["A"] * 17 + [RARE] * 9, sites=1),
    "alone": a_corpus([RARE] * 9, sites=1),
    "at one of two sites": a_corpus([*["A", "B"] * 10, *[RARE] * 5, *["A", "A", "B"] * 5], sites=2),
}  # fmt: skip


@pytest.mark.parametrize("corpus", CORPORA.values(), ids=CORPORA)
def test_neither_a_rare_groups_name_nor_a_text_leaves(corpus: Corpus) -> None:
    """Catches each place that names what was left out: caveats, notes, reasons, keys, tables."""
    evaluation = an_evaluation(*found_in(corpus))
    tree = json.loads(published_evaluation(evaluation))
    leaked = [each for each in strings(tree) if RARE in each or TEXT in each]
    assert leaked == []
    assert RARE in evaluation.model_dump_json()
    said = " ".join(strings(tree))
    assert "of 9 or fewer" in said


def test_how_long_an_evaluation_took_stays_with_the_run() -> None:
    """It follows the lengths of records."""
    evaluation = an_evaluation(*found_in(CORPORA["alone"]))
    assert evaluation.seconds > 0
    assert json.loads(published_evaluation(evaluation))["seconds"] == 0
