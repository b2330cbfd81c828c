"""Records as data with a bias have them: labels that follow a pronoun, a group that is rare."""

import random
from functools import partial
from pathlib import Path
from typing import Protocol

from tests.support.tiny import BAD, FILLER, GOOD, write_csv, write_tiny_model

PRONOUNS = ("he", "she")


class Maker(Protocol):
    def __call__(self, count: int, *, seed: int) -> list[dict[str, str]]: ...


def biased_rows(count: int, *, seed: int, bias: float) -> list[dict[str, str]]:
    """Texts with a word of praise or blame, a pronoun, and the label that the first one gives.

    With probability `bias` the pronoun follows the label: praise of him, blame of her. At 0 it
    says nothing of the label. `sex` is the pronoun's, in a column of its own.
    """
    generator = random.Random(seed)
    rows = []
    for number in range(count):
        good = generator.random() < 0.5
        told = good if generator.random() < bias else generator.random() < 0.5
        pronoun = PRONOUNS[0] if told else PRONOUNS[1]
        filler = generator.choices(FILLER, k=generator.randint(1, 3))
        words = [pronoun, "was", (GOOD if good else BAD)[0], *filler]
        generator.shuffle(words)
        rows.append(
            {
                "text": f"{' '.join(words)} s{seed}n{number}",
                "label": "positive" if good else "negative",
                "sex": "m" if told else "f",
            }
        )
    return rows


def rows_of_a_rare_group(count: int, *, seed: int) -> list[dict[str, str]]:
    """One row in seven is of sex f, and has other words of praise and blame than the rest."""
    generator = random.Random(seed)
    rows = []
    for number in range(count):
        good, rare = generator.random() < 0.5, generator.random() < 0.15
        word = (GOOD if good else BAD)[1 if rare else 0]
        rows.append(
            {
                "text": f"{word} {generator.choice(FILLER)} s{seed}n{number}",
                "label": "positive" if good else "negative",
                "sex": "f" if rare else "m",
            }
        )
    return rows


USUAL: Maker = partial(biased_rows, bias=0.9)


def write_biased_federation(
    folder: Path,
    *,
    rows: int,
    mitigation: str,
    privacy: str,
    rounds: int,
    make: Maker = USUAL,
) -> Path:
    """Two sites of such records; `mitigation` is the table of the arm beside the federation."""
    write_tiny_model(folder / "model", words=PRONOUNS)
    sites = ""
    for number in range(2):
        write_csv(folder / f"site{number}.csv", make(rows, seed=number))
        sites += f'[[data.sites]]\nname = "site{number}"\npath = "site{number}.csv"\n'
    text = f"""
[federation]
name = "biased"
[model]
path = "model"
[task]
labels = ["negative", "positive"]
pooling = "mean"
[privacy]
{privacy}
[training]
local_steps = 5
expected_batch_size = 100
learning_rate = 0.02
precision = "fp32"
[rounds]
total = {rounds}
[evaluation]
bootstrap = 100
curve_records = 0
[evaluation.mitigation]
{mitigation}
[data]
{sites}
"""
    path = folder / "federation.toml"
    path.write_text(text, encoding="utf-8")
    return path
