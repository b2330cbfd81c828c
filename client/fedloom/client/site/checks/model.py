"""The base model: whole, allowed, and loadable as far as that is told without its weights."""

from collections.abc import Iterator
from pathlib import Path

from transformers import AutoConfig, AutoTokenizer

from fedloom.client.site.checks.finding import Seen, Site, good, problem
from fedloom.shared.errors import ModelError
from fedloom.shared.model.base import fingerprint


def look_at_model(site: Site) -> Iterator[Seen]:
    """Its fingerprint, whether the policy allows it, and its kind.

    Raises:
        ModelError: the folder holds no whole model.
    """
    folder, allowed = site.config.model, site.policy.allow.models
    sha256 = fingerprint(folder)
    if allowed and sha256 not in allowed:
        yield problem(f"sha256 {sha256} is not in allow.models: every plan would be refused")
    else:
        yield good(f"sha256 {sha256}")
    yield good(f"config and tokenizer load: {_kind(folder)}")


def _kind(folder: Path) -> str:
    options = {"local_files_only": True, "trust_remote_code": False}
    try:
        config = AutoConfig.from_pretrained(folder, **options)
        AutoTokenizer.from_pretrained(folder, **options)
    # The tokenizers library raises Exception itself for a file of another version.
    except Exception as error:
        kind = type(error).__name__
        raise ModelError(
            f"model {folder}: config or tokenizer cannot be loaded ({kind})"
        ) from error
    if getattr(config, "quantization_config", None) is not None:
        raise ModelError(f"model {folder}: weights are quantised already, expected plain ones")
    return str(config.model_type)
