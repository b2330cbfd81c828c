"""What a release's files say, parsed alike where it is made and where it is verified."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from fedloom.server.evaluator.evaluation import Evaluation
from fedloom.server.release.adapter_file import parse_adapter
from fedloom.server.release.decision import Evidence
from fedloom.server.release.peft_config import PeftConfig, config_problems
from fedloom.server.report.schema import Report
from fedloom.server.run.heads import parse_heads
from fedloom.shared.config.problems import explain
from fedloom.shared.config.reading import parse_toml
from fedloom.shared.config.release import ReleaseSection
from fedloom.shared.errors import ReleaseError
from fedloom.shared.model.card import AdapterCard
from fedloom.shared.plan import Plan
from fedloom.shared.wire.heads import LedgerHead

PLAN, TERMS, REPORT, EVALUATION = "plan.toml", "release.toml", "report.json", "evaluation.json"
HEADS = "heads.json"
WEIGHTS, PEFT_CONFIG, ADAPTER_CARD = (
    "adapter_model.safetensors",
    "adapter_config.json",
    "fedloom.json",
)
ADAPTER_FILES = (WEIGHTS, PEFT_CONFIG, ADAPTER_CARD)

_Model = TypeVar("_Model", bound=BaseModel)


@dataclass(frozen=True, kw_only=True)
class Contents:
    """A run's own words. `adapter_sha256`, `peft_config` and `card` are None, and `tensors` none,
    where the adapter is not there, as in the record of a release that was held."""

    plan: Plan
    terms: ReleaseSection
    report: Report
    evaluation: Evaluation | None
    heads: Mapping[str, LedgerHead]
    adapter_sha256: str | None
    tensors: frozenset[str]
    peft_config: PeftConfig | None
    card: AdapterCard | None
    evidence: Evidence


def parse_contents(files: Mapping[str, bytes]) -> Contents:
    """Files by name as values.

    Raises:
        ReleaseError: a file that there must be is not there, or one is damaged.
        PlanError, ConfigError, CheckpointError: the plan, the terms or the heads are damaged.
    """
    for name in (PLAN, TERMS, REPORT, HEADS):
        if name not in files:
            raise ReleaseError(f"{name}: missing, expected it in every release")
    plan = Plan.from_toml(files[PLAN].decode("utf-8", "replace"), source=PLAN)
    report = parse_json(files[REPORT], Report, source=REPORT)
    adapter = parse_adapter(files[WEIGHTS], source=WEIGHTS) if WEIGHTS in files else None
    evaluation = _if_there(files, EVALUATION, Evaluation)
    return Contents(
        plan=plan,
        terms=parse_toml(files[TERMS], ReleaseSection, source=TERMS),
        report=report,
        evaluation=evaluation,
        heads=parse_heads(files[HEADS], source=HEADS),
        adapter_sha256=None if adapter is None else adapter.sha256,
        tensors=frozenset() if adapter is None else adapter.layout.names,
        peft_config=_peft_config(files[PEFT_CONFIG]) if PEFT_CONFIG in files else None,
        card=_if_there(files, ADAPTER_CARD, AdapterCard),
        evidence=_evidence(files, plan, report, evaluation),
    )


def parse_json(content: bytes, model: type[_Model], *, source: str) -> _Model:
    """A file of JSON as `model`.

    Raises:
        ReleaseError: it is none.
    """
    try:
        return model.model_validate_json(content)
    except ValidationError as error:
        raise ReleaseError(f"{source}: {explain(error, model)[0]}") from error


def disagreements(contents: Contents) -> Iterator[str]:
    """Each way in which files are not of one run and one adapter, in one line."""
    plan, report = contents.plan, contents.report
    if report.plan_sha256 != plan.sha256:
        yield f"{REPORT}: of another plan than {PLAN}"
    if contents.adapter_sha256 not in (None, report.adapter_sha256):
        yield f"{WEIGHTS}: another adapter than the one that {REPORT} is about"
    if contents.peft_config is not None:
        for problem in config_problems(contents.peft_config, plan, contents.tensors):
            yield f"{PEFT_CONFIG}: {problem}"
    # The card's other words are an older FedLoom's own.
    if contents.card is not None and _named(contents.card) != _named(AdapterCard.of(plan)):
        yield f"{ADAPTER_CARD}: says other than {PLAN}"
    last = report.rounds[-1] if report.rounds else None
    if last is None or (last.round, last.adapter_sha256) != (
        plan.rounds.total,
        report.adapter_sha256,
    ):
        yield f"{REPORT}: its last round did not make its adapter"
    yield from _about_another(contents)
    yield from _unlike_heads(contents)


def _about_another(contents: Contents) -> Iterator[str]:
    evaluation = contents.evaluation
    if evaluation is None:
        return
    subjects = [each for each in evaluation.subjects if each.name == evaluation.about]
    if [each.adapter_sha256 for each in subjects] != [contents.report.adapter_sha256]:
        yield f"{EVALUATION}: about another adapter than {REPORT}"
    if evaluation.model_sha256 != contents.plan.model.sha256:
        yield f"{EVALUATION}: on another base model than {PLAN}"


def _unlike_heads(contents: Contents) -> Iterator[str]:
    told = {site.name: site.ledger_head for site in contents.report.sites}
    for name in sorted(contents.heads.keys() | told.keys()):
        head, fact = contents.heads.get(name), told.get(name)
        found = None if head is None else (head.number, head.digest, head.public_key)
        wanted = None if fact is None else (fact.number, fact.digest, fact.public_key)
        if head is not None and not head.is_signed:
            yield f"{HEADS}: {name}: not signed by the site's key that it names"
        elif found != wanted:
            yield f"{HEADS}: {name}: another head of the site's ledger than {REPORT} has"


def _named(card: AdapterCard) -> tuple[object, ...]:
    return card.plan_sha256, card.model_sha256, card.max_length, card.quantization, card.task


def _peft_config(content: bytes) -> PeftConfig:
    try:
        config: object = json.loads(content)
    # A ValueError is of bytes that are no UTF-8, too.
    except (ValueError, RecursionError) as error:
        raise ReleaseError(f"{PEFT_CONFIG}: damaged, expected what PEFT wrote") from error
    if not isinstance(config, dict):
        raise ReleaseError(f"{PEFT_CONFIG}: no table, expected what PEFT wrote")
    return config


def _if_there(files: Mapping[str, bytes], name: str, model: type[_Model]) -> _Model | None:
    return parse_json(files[name], model, source=name) if name in files else None


def _evidence(
    files: Mapping[str, bytes], plan: Plan, report: Report, evaluation: Evaluation | None
) -> Evidence:
    measured: dict[str, str | None] = {"evaluation_sha256": None}
    if evaluation is not None:
        measured = {
            "evaluation_sha256": _sha256(files[EVALUATION]),
            "suite_sha256": evaluation.suite_sha256,
            "corpus_sha256": evaluation.corpus_sha256 or None,
        }
    evidence = {
        "adapter_sha256": report.adapter_sha256,
        "plan_sha256": plan.sha256,
        "terms_sha256": _sha256(files[TERMS]),
        "report_sha256": _sha256(files[REPORT]),
        **measured,
    }
    try:
        return Evidence.model_validate(evidence)
    except ValidationError as error:
        raise ReleaseError(f"{REPORT} or {EVALUATION}: {explain(error, Evidence)[0]}") from error


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
