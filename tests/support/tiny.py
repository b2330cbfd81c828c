"""A tiny random BERT, a tiny corpus, and federations of them that run in seconds."""

import csv
import json
import random
from pathlib import Path

import torch
from safetensors.torch import save_file
from transformers import (
    BertConfig,
    BertModel,
    BertTokenizerFast,
    DistilBertConfig,
    DistilBertModel,
    RobertaConfig,
    RobertaModel,
)

GOOD = ("good", "great", "fine", "nice", "superb", "lovely")
BAD = ("bad", "awful", "poor", "dull", "dreadful", "nasty")
FILLER = ("the", "film", "book", "was", "and", "very", "quite", "a", "plot", "story")


def write_tiny_model(
    folder: Path, *, seed: int = 0, width: int = 16, layers: int = 2, words: tuple[str, ...] = ()
) -> Path:
    """A BERT encoder of random weights with a word-level tokenizer that knows `words` too."""
    vocabulary = write_tiny_tokenizer(folder, words)
    torch.manual_seed(seed)
    config = BertConfig(
        vocab_size=vocabulary,
        hidden_size=width,
        num_hidden_layers=layers,
        num_attention_heads=2,
        intermediate_size=2 * width,
        max_position_embeddings=32,
        pad_token_id=0,
    )
    BertModel(config).save_pretrained(folder)
    return folder


def write_tiny_roberta(folder: Path) -> Path:
    """As above; RoBERTa has a head of two layers and counts positions from its padding index."""
    vocabulary = write_tiny_tokenizer(folder)
    torch.manual_seed(0)
    config = RobertaConfig(
        vocab_size=vocabulary,
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=34,
        pad_token_id=0,
        bos_token_id=2,
        eos_token_id=3,
        type_vocab_size=1,
    )
    RobertaModel(config, add_pooling_layer=False).save_pretrained(folder)
    return folder


def write_tiny_distilbert(folder: Path) -> Path:
    """As above; DistilBERT has a head of two layers under names of its own."""
    vocabulary = write_tiny_tokenizer(folder)
    torch.manual_seed(0)
    config = DistilBertConfig(
        vocab_size=vocabulary,
        dim=16,
        n_layers=2,
        n_heads=2,
        hidden_dim=32,
        max_position_embeddings=32,
        pad_token_id=0,
    )
    DistilBertModel(config).save_pretrained(folder)
    return folder


def write_headless_bert(folder: Path) -> Path:
    """BERT saved without its pooler, which then starts at random and must be trained and saved."""
    write_tiny_model(folder)
    model = BertModel.from_pretrained(folder)
    state = {k: v for k, v in model.state_dict().items() if not k.startswith("pooler")}
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def write_tiny_tokenizer(folder: Path, words: tuple[str, ...] = ()) -> int:
    """A word-level tokenizer that knows no maximal length; the size of its vocabulary."""
    folder.mkdir(parents=True, exist_ok=True)
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *GOOD, *BAD, *FILLER, *words]
    (folder / "vocab.txt").write_text("\n".join(vocabulary), encoding="utf-8")
    BertTokenizerFast(vocab=str(folder / "vocab.txt")).save_pretrained(folder)
    return len(vocabulary)


def sentences(count: int, *, seed: int) -> list[dict[str, str]]:
    """Rows with columns text, label and author; the label follows from one word of the text."""
    generator = random.Random(seed)
    rows = []
    for number in range(count):
        label = generator.choice(("negative", "positive"))
        words = generator.choices(FILLER, k=generator.randint(2, 9))
        words.insert(generator.randrange(len(words)), generator.choice(_words(label)))
        text = f"{' '.join(words)} s{seed}n{number}"
        rows.append({"text": text, "label": label, "author": f"a{seed}-{number // 5}"})
    return rows


def _words(label: str) -> tuple[str, ...]:
    return GOOD if label == "positive" else BAD


def write_csv(path: Path, rows: list[dict[str, str]]) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def write_jsonl(path: Path, rows: list[dict[str, str]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


SMALLEST = """
[federation]
name = "tiny"
[model]
path = "model"
[task]
labels = ["negative", "positive"]
[privacy]
{privacy}
[training]
local_steps = {steps}
expected_batch_size = 16
learning_rate = {rate}
precision = "fp32"
{training_more}
[rounds]
total = {rounds}
{rounds_more}
[evaluation]
bootstrap = 100
{more}
[data]
"""


def write_federation(
    folder: Path,
    *,
    sites: int = 3,
    rows: int = 120,
    rounds: int = 2,
    steps: int = 2,
    rate: float = 0.05,
    privacy: str = "noise_multiplier = 0.8\ndelta = 1e-4\nnoise_seed = 7",
    training_more: str = "",
    rounds_more: str = "",
    more: str = "",
) -> Path:
    """A folder with model, records and `federation.toml`; the path of the latter."""
    write_tiny_model(folder / "model")
    text = SMALLEST.format(
        privacy=privacy,
        steps=steps,
        rate=rate,
        rounds=rounds,
        training_more=training_more,
        rounds_more=rounds_more,
        more=more,
    )
    for number in range(sites):
        name = f"site{number}"
        write_csv(folder / f"{name}.csv", sentences(rows, seed=number))
        text += f'[[data.sites]]\nname = "{name}"\npath = "{name}.csv"\n'
    path = folder / "federation.toml"
    path.write_text(text, encoding="utf-8")
    return path
