"""`adapter_config.json` decides what the tensors do: a release has the one that was evaluated."""

import json
from pathlib import Path

import pytest
from peft import LoraConfig, TaskType

from fedloom.server.release.folder import write_release
from fedloom.server.release.peft_config import PeftConfig, config_problems
from fedloom.server.release.verify import verify_release
from fedloom.shared.config.sections import LoraSection, TaskSection
from fedloom.shared.errors import ReleaseError
from fedloom.shared.keys import SigningKey
from tests.support.plans import a_plan, an_adapter
from tests.support.released import VALIDATION, a_finished_run, an_evaluation, peft_config
from tests.unit.test_release_folder import sealed_again

KEY = SigningKey.generate()
CONFIG = "adapter_config.json"
# Each makes another function of the same tensors, or runs or fetches something.
CHANGES: list[dict[str, object]] = [
    {"lora_alpha": 0},
    {"lora_alpha": "16.0"},
    {"r": True},
    {"r": 4},
    {"use_rslora": True},
    {"use_dora": True},
    {"target_modules": []},
    {"target_modules": "l"},
    {"target_modules": None},
    {"target_modules": ["l", 3]},
    {"modules_to_save": None},
    {"modules_to_save": ["classifier", "l"]},
    {"modules_to_save": ["classifier", "encoder"]},
    {"modules_to_save": "classifier"},
    {"layers_to_transform": [0]},
    {"base_model_name_or_path": "someone/else"},
    {"peft_type": "IA3"},
    {"task_type": "CAUSAL_LM"},
    {"auto_mapping": {"base_model_class": "X", "parent_library": "evil"}},
    {"rank_pattern": {"l": 4}},
    {"alpha_pattern": {"l": 0}},
    {"exclude_modules": ["l"]},
    {"bias": "all"},
    {"init_lora_weights": "pissa"},
    {"megatron_core": "evil"},
    {"revision": "other"},
    {"some_new_key": None},
]


@pytest.mark.parametrize("change", CHANGES, ids=json.dumps)
def test_another_config_is_neither_released_nor_verified(
    tmp_path: Path, change: dict[str, object]
) -> None:
    """Catches a release whose tensors are the evaluated ones and whose function is not."""
    run = a_finished_run(tmp_path / "run", evaluation=an_evaluation(VALIDATION))
    folder = write_release(run, KEY).folder
    changed = json.dumps(json.loads((folder / CONFIG).read_text()) | change)
    (run.adapter / CONFIG).write_text(changed)
    with pytest.raises(ReleaseError, match=rf"{CONFIG}: .*{next(iter(change))}"):
        write_release(run, KEY, out=tmp_path / "again")
    # Not even the coordinator's signature makes it another's adapter.
    (folder / CONFIG).write_text(changed)
    sealed_again(folder, KEY)
    (line, *_) = verify_release(folder, coordinator=KEY.public).problems
    assert line.startswith(f"{CONFIG}: ") and "\n" not in line


@pytest.mark.parametrize("content", [b"", b"[]", b"\xff", b"[" * 100_000])
def test_a_config_that_is_none_is_one_line(tmp_path: Path, content: bytes) -> None:
    run = a_finished_run(tmp_path / "run", evaluation=an_evaluation(VALIDATION))
    (run.adapter / CONFIG).write_bytes(content)
    with pytest.raises(ReleaseError, match=f"{CONFIG}: .*expected what PEFT wrote"):
        write_release(run, KEY)


def written(config: LoraConfig, folder: Path) -> PeftConfig:
    config.save_pretrained(folder)
    found: PeftConfig = json.loads((folder / CONFIG).read_text())
    return found


def test_what_is_missing_is_not_what_was_planned(tmp_path: Path) -> None:
    plan = a_plan()
    config = dict(written(peft_config(plan), tmp_path))
    for key in ("r", "lora_alpha", "peft_type", "task_type", "base_model_name_or_path"):
        rest = {name: value for name, value in config.items() if name != key}
        (line,) = config_problems(rest, plan, an_adapter().layout.names)
        assert line.startswith(f"{key} is missing")


LAYERED = frozenset(
    f"base_model.model.bert.layer.{layer}.query.lora_{part}.weight"
    for layer in (4, 5)
    for part in "AB"
)


@pytest.mark.parametrize(
    ("changes", "wrong"),
    [
        ({}, ""),
        ({"layers_to_transform": [3, 4]}, "layers_to_transform leaves out a layer"),
        ({"layers_to_transform": [4, 5, 6]}, "layers_to_transform is no run of 2 layers"),
        ({"layers_to_transform": None}, "layers_to_transform is no run of 2 layers"),
        ({"target_modules": ["query", "key"]}, "target_modules is not"),
        ({"modules_to_save": ["bert"]}, "modules_to_save names a module that is no head"),
    ],
)
def test_targets_and_layers_are_those_of_the_plan(
    tmp_path: Path, changes: dict[str, object], wrong: str
) -> None:
    plan = a_plan(
        lora=LoraSection(rank=4, alpha=8, targets=("query",), last_layers=2),
        task=TaskSection(labels=("a", "b"), pooling="mean"),
    )
    config = LoraConfig(
        base_model_name_or_path="base",
        r=4,
        lora_alpha=8,
        target_modules=["query"],
        layers_to_transform=[4, 5],
        task_type=TaskType.TOKEN_CLS,
    )
    problems = list(config_problems({**written(config, tmp_path), **changes}, plan, LAYERED))
    assert [line.startswith(wrong) for line in problems] == [True] * bool(wrong)
