"""Tiny federations whose model tells words well apart, so that a privacy audit has power."""

import random
import string
from pathlib import Path

import torch
from transformers import BertConfig, BertModel, BertTokenizerFast

from fedloom.client.app import make_client_app
from fedloom.client.site.directory import SiteDirectory
from fedloom.server.evaluator.findings import AuditFindings
from fedloom.server.run.folder import RunFolder
from fedloom.shared.config.federation import read_federation
from fedloom.simulation.auditing.asked import PrivacyAuditOptions
from fedloom.simulation.auditing.audit import audit_federation
from fedloom.simulation.executors.base import Executor
from fedloom.simulation.executors.serial import SerialExecutor
from fedloom.simulation.prepare import Prepared, prepare
from fedloom.simulation.progress import silent
from fedloom.simulation.site_app import in_process
from tests.support.tiny import BAD, FILLER, GOOD, sentences, write_csv

CONFIG = """
[federation]
name = "audited"
[model]
path = "model"
max_length = 16
[task]
labels = ["negative", "positive"]
pooling = "mean"
[lora]
rank = 2
targets = ["value"]
[privacy]
delta = 1e-5
clip_norm = 0.1
{privacy}
[training]
head_rounds = {head_rounds}
local_steps = {steps}
expected_batch_size = {batch}
optimizer = "sgd"
momentum = 0.0
learning_rate = {rate}
precision = "fp32"
[aggregation]
method = "fedit"
[rounds]
total = {rounds}
[evaluation]
bootstrap = 100
[data]
"""


def write_worded_model(folder: Path, *, width: int, words: int = 1000) -> None:
    """A BERT of one layer; words outweigh what all texts share, as in a model that was trained."""
    folder.mkdir(parents=True, exist_ok=True)
    generator = random.Random(0)
    made = {"".join(generator.choices(string.ascii_lowercase, k=5)) for _ in range(words)}
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    vocabulary = [*special, *GOOD, *BAD, *FILLER, *sorted(made)]
    (folder / "vocab.txt").write_text("\n".join(vocabulary), encoding="utf-8")
    BertTokenizerFast(vocab=str(folder / "vocab.txt")).save_pretrained(folder)
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=width,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=width,
        max_position_embeddings=16,
        pad_token_id=0,
    )
    model = BertModel(config)
    with torch.no_grad():
        model.embeddings.word_embeddings.weight[len(special) :] *= 20
    model.save_pretrained(folder)


def audited_federation(
    folder: Path,
    *,
    privacy: str = "epsilon = 1.0\nnoise_seed = 7",
    sites: int = 1,
    rows: int = 100,
    width: int = 256,
    rounds: int = 2,
    steps: int = 6,
    head_rounds: int = 0,
    batch: int = 40,
    rate: float = 0.05,
) -> Prepared:
    """So slow a learner that gradients stay what they were; only noise hides the canaries."""
    write_worded_model(folder / "model", width=width)
    text = CONFIG.format(
        privacy=privacy, head_rounds=head_rounds, steps=steps, batch=batch, rate=rate, rounds=rounds
    )
    for number in range(sites):
        write_csv(folder / f"site{number}.csv", sentences(rows, seed=number))
        text += f'[[data.sites]]\nname = "site{number}"\npath = "site{number}.csv"\n'
    path = folder / "federation.toml"
    path.write_text(text, encoding="utf-8")
    return prepare(read_federation(path))


def run_audit(
    prepared: Prepared,
    folder: Path,
    *,
    canaries: int = 100,
    site: str | None = None,
    seed: int = 0,
    shadows: int = 0,
    executor: Executor | None = None,
    resume: bool = False,
) -> AuditFindings:
    """The audit, all sites in this process, so that a test can plant faults in their code."""
    executor = executor or SerialExecutor(make_client_app(in_process(SiteDirectory())))
    options = PrivacyAuditOptions(canaries=canaries, site=site, seed=seed, shadows=shadows)
    run = RunFolder(folder)
    return audit_federation(prepared, run, executor, silent(), options, resume=resume)


def figures_of(findings: AuditFindings) -> dict[str, float]:
    """Values by key."""
    return {figure.key: figure.value for figure in findings.figures}
