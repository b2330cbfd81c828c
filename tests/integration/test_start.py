"""A run that starts from a public adapter, and starts that do not fit."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from fedloom.client.app import make_client_app
from fedloom.client.site.directory import SiteDirectory
from fedloom.server.run.checkpoint import read_checkpoint
from fedloom.server.run.folder import RunFolder
from fedloom.shared.config.federation import missing_files, read_federation
from fedloom.shared.errors import ModelError
from fedloom.simulation.arms import arms_beside
from fedloom.simulation.executors.serial import SerialExecutor
from fedloom.simulation.federation import run_federation
from fedloom.simulation.prepare import Prepared, prepare
from fedloom.simulation.site_app import in_process
from tests.support.tiny import write_federation


def prepared(folder: Path, more: str = "", rounds: int = 1, **changes: str) -> Prepared:
    path = write_federation(folder, sites=2, rounds=rounds, more=more, **changes)
    return prepare(read_federation(path))


def run(prepared: Prepared, path: Path) -> RunFolder:
    app = make_client_app(in_process(SiteDirectory()))
    run_federation(prepared, RunFolder(path), SerialExecutor(app))
    return RunFolder(path)


@pytest.fixture(scope="module")
def public(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A PEFT folder with a trained head, A and B."""
    folder = tmp_path_factory.mktemp("public")
    return run(prepared(folder, '[aggregation]\nmethod = "fedit"\n'), folder / "run").adapter


def test_a_run_starts_from_the_public_adapter_a_included(public: Path, tmp_path: Path) -> None:
    """FFA never changes A: it must be the start's, not a fresh one."""
    switches = 'head_rounds = 1\nschedule = "linear"'
    warm = prepared(tmp_path, f'[lora]\nstart = "{public}"\n', 2, training_more=switches)
    folder = run(warm, tmp_path / "run")
    plan = warm.plan
    rounds = [read_checkpoint(folder.checkpoints, at, plan.sha256) for at in range(3)]
    donor = RunFolder(public.parent)
    given = read_checkpoint(donor.checkpoints, 1, donor.read_plan().sha256)
    assert rounds[0].sha256 == given.sha256 == plan.start_sha256
    for name, values in rounds[2].state().items():
        kept = np.array_equal(values, given.state()[name])
        assert kept == (".lora_A." in name), name
    assert str(public).encode() not in plan.canonical()


def test_all_arms_start_from_it(public: Path, tmp_path: Path) -> None:
    warm = prepared(tmp_path, f'[lora]\nstart = "{public}"\n')
    for kind in ("non-private", "alone"):
        for arm in arms_beside(warm, kind):
            assert arm.prepared.plan.start_sha256 == warm.plan.start_sha256


@pytest.mark.parametrize(
    ("lora", "words"),
    [
        ("rank = 4", "its r is 8, expected the config's 4"),
        ("alpha = 8", "its lora_alpha is 16.0, expected the config's 8.0"),
        ("last_layers = 1", "layer.0.*expected the config's targets, layers and labels"),
        ('targets = ["query"]', "value.*expected the config's targets, layers and labels"),
    ],
)
def test_a_start_of_another_shape_is_refused_when_planning(
    public: Path, tmp_path: Path, lora: str, words: str
) -> None:
    with pytest.raises(ModelError, match=rf"lora.start .*{words}") as caught:
        prepared(tmp_path, f'[lora]\nstart = "{public}"\n{lora}\n')
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("damage", ["adapter_config.json", "adapter_model.safetensors"])
def test_a_damaged_start_is_one_line(public: Path, tmp_path: Path, damage: str) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(public, broken)
    (broken / damage).write_bytes(b"{")
    with pytest.raises(ModelError, match="cannot be read, expected a PEFT folder"):
        prepared(tmp_path, '[lora]\nstart = "broken"\n')


def test_a_start_that_changed_after_planning_is_refused(public: Path, tmp_path: Path) -> None:
    mine, other = tmp_path / "mine", tmp_path / "other"
    shutil.copytree(public, mine)
    warm = prepared(tmp_path, '[lora]\nstart = "mine"\n')
    donor = prepared(other, '[aggregation]\nmethod = "fedit"\n', training_more="momentum = 0.5")
    shutil.rmtree(mine)
    shutil.copytree(run(donor, other / "run").adapter, mine)
    with pytest.raises(ModelError, match="expected the plan's"):
        run(warm, tmp_path / "run")


def test_a_start_that_is_not_there_is_named(tmp_path: Path) -> None:
    path = write_federation(tmp_path, more='[lora]\nstart = "nowhere"\n')
    config = read_federation(path)
    assert missing_files(config) == [f"lora.start: no folder {tmp_path / 'nowhere'}"]
    with pytest.raises(ModelError, match=r"lora.start .*nowhere: cannot be read"):
        prepare(config)


def test_a_start_for_the_labels_in_another_order_is_refused(public: Path, tmp_path: Path) -> None:
    path = write_federation(tmp_path, more=f'[lora]\nstart = "{public}"\n')
    text = path.read_text().replace('"negative", "positive"', '"positive", "negative"')
    path.write_text(text)
    with pytest.raises(ModelError, match="other labels, expected positive, negative"):
        prepare(read_federation(path))


def test_a_start_with_another_kind_of_lora_is_refused(public: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(public, other)
    said = json.loads((other / "adapter_config.json").read_text()) | {"use_dora": True}
    (other / "adapter_config.json").write_text(json.dumps(said))
    with pytest.raises(ModelError, match="its use_dora is True, expected the config's False"):
        prepared(tmp_path, '[lora]\nstart = "other"\n')
