"""Frozen weights in four bits, as QLoRA holds them (Dettmers et al. 2023); needs bitsandbytes."""

from collections.abc import Mapping
from importlib.util import find_spec
from types import MappingProxyType

import torch
from transformers import BitsAndBytesConfig

from fedloom.shared.config.sections import Quantization
from fedloom.shared.errors import ModelError

_NOTHING: Mapping[str, object] = MappingProxyType({})


def holding(quantization: Quantization) -> Mapping[str, object]:
    """What `from_pretrained` is told, so that frozen linear layers are held so.

    Layers compute in fp32, or in what autocast chooses; embeddings and the language model's
    head stay as they are.

    Raises:
        ModelError: bitsandbytes is not installed.
    """
    if quantization == "none":
        return _NOTHING
    if find_spec("bitsandbytes") is None:
        raise ModelError(
            f'model.quantization is "{quantization}", but bitsandbytes is not installed; '
            "expected pip install 'fedloom[four-bit]'"
        )
    config = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type=quantization,
        bnb_4bit_compute_dtype=torch.float32,
    )
    return {"quantization_config": config, "device_map": "cpu"}
