"""A model folder that is not whole is refused before anything is planned or spent."""

from collections.abc import Callable
from pathlib import Path

import pytest

from fedloom.server.evaluator.standalone import load_scorer
from fedloom.server.initial import initial_adapter, save_adapter
from fedloom.shared.errors import ModelError
from fedloom.shared.model.base import fingerprint
from fedloom.shared.plan import differences
from tests.support.tiny import write_tiny_model
from tests.support.training import make_plan


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda folder: cut(folder / "model.safetensors"), "damaged, expected a whole safetensors"),
        (lambda folder: (folder / "model.safetensors").write_bytes(b"x" * 50), "damaged"),
        (lambda folder: (folder / "model.safetensors").unlink(), r"\*\.safetensors"),
        (lambda folder: (folder / "config.json").unlink(), "config.json"),
        # Without one, transformers makes a tokenizer that knows no word, and training goes on.
        (lambda folder: [path.unlink() for path in folder.glob("*ocab*")], "no vocabulary"),
    ],
    ids=["cut", "other", "no weights", "no config", "no vocabulary"],
)
def test_a_folder_that_is_not_whole_has_no_fingerprint(
    tmp_path: Path, damage: Callable[[Path], object], words: str
) -> None:
    folder = write_tiny_model(tmp_path / "model")
    fingerprint(folder)
    (folder / "tokenizer.json").unlink(missing_ok=True)
    (folder / "vocab.txt").touch()
    fingerprint(folder)
    damage(folder)
    with pytest.raises(ModelError, match=words):
        fingerprint(folder)


def test_a_damaged_adapter_is_one_clear_error(tmp_path: Path, tiny_model: Path) -> None:
    plan = make_plan(tiny_model)
    save_adapter(plan, tiny_model, initial_adapter(plan, tiny_model), target=tmp_path / "adapter")
    load_scorer(tmp_path / "adapter", tiny_model)
    cut(tmp_path / "adapter" / "adapter_model.safetensors")
    with pytest.raises(ModelError, match=r"adapter_model\.safetensors: damaged"):
        load_scorer(tmp_path / "adapter", tiny_model)


def test_plans_are_told_apart_by_the_keys_that_differ(tiny_model: Path) -> None:
    one = make_plan(tiny_model)
    assert differences(one, one) == []
    assert differences(one, make_plan(tiny_model, clip_norm=2.0, steps=3)) == [
        "privacy.clip_norm",
        "training.local_steps",
    ]
