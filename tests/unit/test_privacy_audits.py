"""Membership and exposure as audits: leaky models are caught, others are not, bad input is said."""

import json
import traceback
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from fedloom.server.evaluator.audits.exposure import Exposure, ExposureOptions
from fedloom.server.evaluator.audits.membership import Membership, MembershipOptions
from fedloom.server.evaluator.corpus import Corpus
from fedloom.server.evaluator.findings import AuditFindings
from fedloom.server.evaluator.metrics import Outcomes
from fedloom.server.evaluator.privacy.exposure import BY_CHANCE
from fedloom.server.evaluator.scorer import Scorer
from fedloom.server.evaluator.subject import Candidate, Subject
from fedloom.shared.config.sections import TaskSection
from fedloom.shared.data.records import Record
from fedloom.shared.errors import EvaluationError
from fedloom.shared.tasks.base import Example
from fedloom.shared.tasks.registry import make_task
from tests.support.language import write_tiny_gpt2
from tests.support.plans import an_adapter

CLASSES = TaskSection(labels=("no", "yes"))


class Told:
    """Stands for a scorer: a record's text is its loss."""

    def encode(self, records: list[Record]) -> list[Record]:
        return records

    def outcomes(self, records: list[Record]) -> Outcomes:
        loss = np.array([float(record.text) for record in records])
        return Outcomes(loss=loss, right=loss < 0.5)


def subject(scorer: object, task: TaskSection = CLASSES) -> Subject:
    candidate = Candidate(name="x", kind="federation", description="", adapter=an_adapter())
    return Subject(candidate=candidate, task=task, scorer=scorer)  # type: ignore[arg-type]


def losses(count: int, *, mean: float, seed: int) -> tuple[Record, ...]:
    drawn = np.random.default_rng(seed).normal(mean, 1.0, count)
    return tuple(Record(text=repr(float(loss)), label=0, unit="") for loss in drawn)


def membership_of(corpus: Corpus, records: int = 2000) -> AuditFindings:
    audit = Membership(MembershipOptions(records=records))
    assert audit.why_not(subject(Told()), corpus) == ""
    return audit.measure(subject(Told()), corpus).findings


def figures_of(findings: AuditFindings) -> dict[str, float]:
    return {figure.key: figure.value for figure in findings.figures}


def test_a_model_that_remembers_its_members_is_caught() -> None:
    corpus = Corpus(
        tests={"a": losses(600, mean=3, seed=1)}, members={"a": losses(900, mean=0, seed=2)}
    )
    found = figures_of(membership_of(corpus))
    # Two Gaussians three deviations apart: Phi(3 / sqrt 2), and Phi(3 - 2.33) at one in a hundred.
    assert found["auc"] == pytest.approx(0.983, abs=0.01)
    assert found["tpr_at_1_fpr"] == pytest.approx(0.75, abs=0.1)


def test_a_model_that_treats_all_alike_is_not() -> None:
    """20 seeds; each interval misses 0.5 in 5 %: more than 4 would be a false alarm in one of
    400."""
    missed = 0
    for seed in range(20):
        corpus = Corpus(
            tests={"a": losses(300, mean=1, seed=2 * seed)},
            members={"a": losses(300, mean=1, seed=2 * seed + 1)},
        )
        auc, _ = membership_of(corpus).figures
        missed += not (auc.low or 0) <= 0.5 <= (auc.high or 1)
    assert missed <= 4


def test_a_difference_between_sites_is_not_taken_for_memory() -> None:
    """Members are mostly of the easy site, test records of the hard one: by site, all alike."""
    corpus = Corpus(
        tests={"easy": losses(200, mean=0, seed=1), "hard": losses(900, mean=5, seed=2)},
        members={"easy": losses(900, mean=0, seed=3), "hard": losses(200, mean=5, seed=4)},
    )
    auc, *_ = membership_of(corpus).figures
    assert auc.records == 400
    assert auc.low is not None and auc.high is not None and auc.low < 0.5 < auc.high


def test_membership_says_why_it_cannot_be_asked() -> None:
    audit = Membership(MembershipOptions())
    tests = {"a": losses(300, mean=0, seed=1)}
    deployed = audit.why_not(subject(Told()), Corpus(tests=tests))
    assert deployed == "the records that it was trained on are at hand in a simulation alone"
    few = Corpus(tests=tests, members={"a": losses(30, mean=0, seed=2)})
    assert (
        audit.why_not(subject(Told()), few)
        == "30 records that it was trained on and 30 others, expected 100 of each at least"
    )
    strangers = Corpus(tests=tests, members={"b": losses(300, mean=0, seed=2)})
    assert "no site has both" in audit.why_not(subject(Told()), strangers)


def people(count: int, *, each: int, seed: int) -> tuple[Record, ...]:
    """Records of so many patients."""
    drawn = losses(count * each, mean=0, seed=seed)
    return tuple(replace(one, unit=f"patient {at // each}") for at, one in enumerate(drawn))


@pytest.mark.parametrize(("inside", "outside"), [(5, 200), (200, 5)])
def test_many_records_of_few_people_are_not_measured(inside: int, outside: int) -> None:
    """A thousand records on either side, and one side is five patients'."""
    members, others = (
        people(inside, each=1000 // inside, seed=1),
        people(outside, each=1000 // outside, seed=2),
    )
    corpus = Corpus(tests={"a": others}, members={"a": members}, unit="patient")
    told = Membership(MembershipOptions()).why_not(subject(Told()), corpus)
    assert f"{inside} units that it was trained on" in told and "expected 100 of each" in told


def test_figures_count_the_smaller_sides_people() -> None:
    """A rule that wants 250 records is not met by 200 people and 125 others."""
    members, others = people(200, each=5, seed=1), people(125, each=8, seed=2)
    corpus = Corpus(tests={"a": others}, members={"a": members}, unit="patient")
    assert [figure.records for figure in membership_of(corpus).figures] == [125, 125]


def test_the_curve_rises_and_is_finite() -> None:
    corpus = Corpus(
        tests={"a": losses(500, mean=1, seed=1)}, members={"a": losses(500, mean=0, seed=2)}
    )
    (series,) = membership_of(corpus, records=400).charts[0].series
    assert len(series.x) == len(series.y) <= 60
    x = [float(at) for at in series.x]
    assert x == sorted(x) and list(series.y) == sorted(series.y) and x[-1] == 0.0 == series.y[-1]


FREE = TaskSection(kind="causal-lm")


@pytest.fixture(scope="module")
def scorer(tmp_path_factory: pytest.TempPathFactory) -> Scorer:
    """A causal model that reads letters, so that secrets of letters and digits have tokens."""
    folder = write_tiny_gpt2(tmp_path_factory.mktemp("gpt2"))
    _write_letters(folder)
    task = make_task(FREE)
    base = task.load(folder, seed=0)
    base.model.resize_token_embeddings(64)
    return Scorer(
        task=task, model=base.model.eval(), tokenizer=base.tokenizer, max_length=32, batch_size=64
    )


def _write_letters(folder: Path) -> None:
    from tokenizers import Regex, Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    letters = ["[PAD]", "</s>", "[UNK]", *"abcdefghijklmnopqrstuvwxyz", *"0123456789", " "]
    inner = Tokenizer(models.WordLevel({at: n for n, at in enumerate(letters)}, "[UNK]"))
    inner.pre_tokenizer = pre_tokenizers.Split(Regex("."), "isolated")
    PreTrainedTokenizerFast(
        tokenizer_object=inner, pad_token="[PAD]", eos_token="</s>", unk_token="[UNK]"
    ).save_pretrained(folder)


CANARIES = [{"prompt": f"the pin of {name} is", "secret": pin} for name, pin in
            (("ann", "4711"), ("bob", "0815"), ("eve", "2906"), ("joe", "7358"))]  # fmt: skip


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "canaries.jsonl"
    path.write_text("".join(json.dumps(one) + "\n" for one in CANARIES))
    return path


def test_exposure_of_an_untrained_model_is_near_chance(scorer: Scorer, file: Path) -> None:
    """Four secrets: a mean of 1.44 bits with deviation 0.72; 5 bits are beyond chance in one
    seed of 10,000, and saying one of 10,000 pins by chance is as rare."""
    audit = Exposure(ExposureOptions(canaries=file, references=200))
    found = figures_of(audit.measure(subject(scorer, FREE), Corpus(tests={})).findings)
    assert found["exposure"] < 5
    assert found["extracted"] == 0.0


def test_a_model_that_learned_its_secrets_by_heart_is_caught(scorer: Scorer, file: Path) -> None:
    records = [
        Record(text=one["prompt"], label=-1, unit="", answer=one["secret"]) for one in CANARIES
    ]
    before = {name: values.clone() for name, values in scorer.model.state_dict().items()}
    _overfit(scorer, scorer.encode(records))
    audit = Exposure(ExposureOptions(canaries=file, references=200))
    measured = audit.measure(subject(scorer, FREE), Corpus(tests={}))
    labelled = FREE.model_copy(update={"labels": ("good", "bad")})
    again = audit.measure(subject(scorer, labelled), Corpus(tests={}))
    scorer.model.load_state_dict(before)
    found = figures_of(measured.findings)
    assert found["extracted"] == 1.0
    # Most of 200 random pins are no likelier, and none is the secret but by chance.
    assert found["exposure"] > 6 > BY_CHANCE
    assert figures_of(again.findings) == found, "labels are no bar to saying a secret"


def _overfit(scorer: Scorer, examples: list[Example]) -> None:
    scorer.model.train()
    optimizer = torch.optim.Adam(scorer.model.parameters(), lr=0.01)
    for _ in range(150):
        optimizer.zero_grad()
        batch = scorer.task.collate(examples, scorer.tokenizer)
        scorer.task.losses(scorer.model, batch).sum().backward()
        optimizer.step()
    scorer.model.eval()


def test_exposure_says_why_it_cannot_be_asked(scorer: Scorer, file: Path) -> None:
    with_file = Exposure(ExposureOptions(canaries=file))
    assert "labels" in with_file.why_not(subject(Told()), Corpus(tests={}))
    assert with_file.why_not(subject(scorer, FREE), Corpus(tests={})) == ""
    without = Exposure(ExposureOptions())
    assert "no secrets are known" in without.why_not(subject(scorer, FREE), Corpus(tests={}))


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{}", "line 1: key prompt"),
        ('{"prompt": "pin", "secret": ["q7-hidden"]}', "line 1: key secret"),
        ('{"prompt": "pin", "secret": {"q7-hidden": 1}}', "line 1: key secret"),
        ('{"prompt": "pin", "secret": "a1b2c3d4", "q7-hidden": "q7-hidden"}', "1: other keys"),
        ('{"secret": "q7-hidden", "prompt": }', "line 1: no JSON"),
        ('{"secret": "q7-hidden"}', "line 1: key prompt"),
        ('"q7-hidden"', "line 1: no JSON"),
        ('{"prompt": "pin", "secret": "7"}', "line 1: a secret of 10 forms"),
        ("", "empty"),
        ("no json", "line 1"),
    ],
)
def test_a_damaged_file_of_canaries_is_one_line_without_the_secret(
    scorer: Scorer, tmp_path: Path, line: str, said: str
) -> None:
    path = tmp_path / "canaries.jsonl"
    path.write_text(line + "\n" if line else "")
    audit = Exposure(ExposureOptions(canaries=path))
    with pytest.raises(EvaluationError, match=said) as caught:
        audit.measure(subject(scorer, FREE), Corpus(tests={}))
    assert "\n" not in str(caught.value)
    assert "q7-hidden" not in "".join(traceback.format_exception(caught.value))


def test_a_missing_file_of_canaries_is_named(scorer: Scorer, tmp_path: Path) -> None:
    audit = Exposure(ExposureOptions(canaries=tmp_path / "none.jsonl"))
    with pytest.raises(EvaluationError, match=r"no file .*none\.jsonl"):
        audit.measure(subject(scorer, FREE), Corpus(tests={}))
