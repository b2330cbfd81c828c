"""Whether `adapter_config.json` makes of the released tensors the function that was evaluated.

Guarantee: where there is no problem, PEFT puts each of the adapter's tensors in the place that the
plan names, scales them as the plan says, on the plan's base model, and does nothing else. Assumes
the PEFT versions that FedLoom works with; a key that none of them knew in this form is refused.
"""

from collections.abc import Collection, Iterator, Mapping
from types import MappingProxyType

from fedloom.shared.plan import Plan

PeftConfig = Mapping[str, object]

# What PEFT writes where it does nothing of its own. Some of these would run code or fetch weights.
_NEUTRAL: PeftConfig = MappingProxyType(
    {
        "alora_invocation_tokens": None,
        "alpha_pattern": {},
        "arrow_config": None,
        "auto_mapping": None,
        "bias": "none",
        "corda_config": None,
        "ensure_weight_tying": False,
        "eva_config": None,
        "exclude_modules": None,
        "init_lora_weights": True,
        "kasa_config": None,
        "layer_replication": None,
        "layers_pattern": None,
        "loftq_config": {},
        "lora_bias": False,
        "lora_ga_config": None,
        "megatron_config": None,
        "megatron_core": "megatron.core",
        "monteclora_config": None,
        "qalora_group_size": 16,
        "rank_pattern": {},
        "revision": None,
        "target_parameters": None,
        "trainable_token_indices": None,
        "use_bdlora": None,
        "use_dora": False,
        "use_qalora": False,
        "use_rslora": False,
        "velora_config": None,
    }
)
# The first PEFT corrects by each layer's own kind, the second whoever loads it decides.
_WITHOUT_EFFECT = frozenset({"fan_in_fan_out", "inference_mode", "peft_version"})
_PARTS = ("target_modules", "modules_to_save", "layers_to_transform")
_TASKS: Mapping[tuple[str, str], str] = MappingProxyType(
    {
        ("classification", "model"): "SEQ_CLS",
        ("classification", "mean"): "TOKEN_CLS",
        ("causal-lm", "model"): "CAUSAL_LM",
        ("seq2seq", "model"): "SEQ_2_SEQ_LM",
    }
)
# Heads that PEFT always lists for a classifier, whether the model has them or not.
_USUAL_HEADS = frozenset({"classifier", "score"})
_LORA = (".lora_A.", ".lora_B.")


def config_problems(config: PeftConfig, plan: Plan, tensors: Collection[str]) -> Iterator[str]:
    """Each key that says other than the plan, in words that follow the file's name; `tensors` are
    the names in the adapter's file."""
    wanted = _planned(plan)
    for key in sorted(wanted.keys() - _NEUTRAL.keys() - config.keys()):
        yield f"{key} is missing, expected {wanted[key]!r} as planned"
    for key, value in sorted(config.items()):
        if key in wanted and not _same(value, wanted[key]):
            yield f"{key} is not {wanted[key]!r}, expected it as planned"
        elif key not in wanted and key not in _WITHOUT_EFFECT and key not in _PARTS:
            yield f"{key[:100]!r} is no key that FedLoom writes, expected none but PEFT's for LoRA"
    modules = {name.partition(part)[0] for name in tensors for part in _LORA if part in name}
    heads = [name for name in tensors if not any(part in name for part in _LORA)]
    yield from _target_problems(config.get("target_modules"), plan.lora.targets, modules)
    yield from _head_problems(config.get("modules_to_save"), heads, modules)
    yield from _layer_problems(config.get("layers_to_transform"), plan.lora.last_layers, modules)


def _planned(plan: Plan) -> PeftConfig:
    return {
        **_NEUTRAL,
        "base_model_name_or_path": plan.model.name,
        "lora_alpha": plan.lora.alpha,
        "lora_dropout": plan.lora.dropout,
        "peft_type": "LORA",
        "r": plan.lora.rank,
        "task_type": _TASKS[plan.task.kind, plan.task.pooling],
    }


def _same(value: object, wanted: object) -> bool:
    # To Python, 1 is true and 1.0.
    return value == wanted and isinstance(value, bool) == isinstance(wanted, bool)


def _target_problems(
    value: object, planned: Collection[str], modules: Collection[str]
) -> Iterator[str]:
    targets = _names(value)
    if targets is None or (planned and targets != set(planned)):
        told = sorted(planned) or "a list of names"
        yield f"target_modules is not {told!r}, expected it as planned"
    elif any(not _is_at(module, targets) for module in modules):
        yield "target_modules leaves out a module that the adapter's file has, expected each"


def _head_problems(
    value: object, heads: Collection[str], modules: Collection[str]
) -> Iterator[str]:
    saved: set[str] | None = set() if value is None else _names(value)
    if saved is None:
        yield "modules_to_save is no list of names, expected one or null"
        return
    paths = [_above(name) for name in heads]
    if any(not any(_is_at(path, saved) for path in above) for above in paths):
        yield "modules_to_save leaves out a head that the adapter's file has, expected each"
    known = _USUAL_HEADS.union(*paths)
    # PEFT leaves out LoRA within a module that is saved whole.
    inside = {path for module in modules for path in (module, *_above(module))}
    for name in saved:
        if any(_is_at(path, {name}) for path in inside) or not any(
            _is_at(path, {name}) for path in known
        ):
            yield "modules_to_save names a module that is no head of the adapter's file"
            return


def _layer_problems(value: object, last: int | None, modules: Collection[str]) -> Iterator[str]:
    if last is None:
        if value is not None:
            yield "layers_to_transform is not null, expected it as planned"
        return
    layers = [one for one in value if type(one) is int] if isinstance(value, list) else []
    if not layers or layers != value or layers != list(range(layers[0], layers[0] + last)):
        yield f"layers_to_transform is no run of {last} layers, expected it as planned"
    elif any(not {*map(str, layers)} & {*module.split(".")} for module in modules):
        yield "layers_to_transform leaves out a layer that the adapter's file has, expected each"


def _names(value: object) -> set[str] | None:
    if not isinstance(value, list):
        return None
    names = {one for one in value if isinstance(one, str)}
    return names if len(names) == len(value) else None


def _is_at(path: str, names: Collection[str]) -> bool:
    return any(path == name or path.endswith(f".{name}") for name in names)


def _above(name: str) -> list[str]:
    parts = name.split(".")
    return [".".join(parts[:end]) for end in range(1, len(parts))]
