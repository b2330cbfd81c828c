"""What a task's YAML may say to lm-eval: known keys, and templates that only name columns.

lm-eval renders its templates by Jinja without a sandbox, and passes what a task says of
generation on to the model: either could run any code on the machine that evaluates. Here a suite
comes from elsewhere, so what is allowed is listed, and all else is refused.
"""

import re
from collections.abc import Iterator, Mapping
from types import MappingProxyType

_TEMPLATES = ("doc_to_text", "doc_to_target", "doc_to_choice")
_KEYS = frozenset(
    {
        *("task", "task_alias", "tag", "metadata", "output_type", "repeats"),
        *("dataset_path", "dataset_kwargs"),
        *("training_split", "validation_split", "test_split", "fewshot_split"),
        *_TEMPLATES,
        *("description", "gen_prefix", "target_delimiter", "fewshot_delimiter"),
        *("num_fewshot", "fewshot_config", "metric_list", "generation_kwargs", "filter_list"),
    }
)
# Within some of them; `generate` of transformers takes code among its other arguments.
_WITHIN = MappingProxyType(
    {
        "dataset_kwargs": frozenset({"data_files"}),
        "fewshot_config": frozenset({"sampler", "split", "fewshot_indices", *_TEMPLATES}),
        "generation_kwargs": frozenset(
            {"until", "do_sample", "temperature", "top_p", "top_k", "max_gen_toks"}
        ),
    }
)
# A brace beside it would make it part of something else to Jinja.
_PLACEHOLDER = re.compile(r"(?<!\{)\{\{[ \t]*([A-Za-z_][A-Za-z0-9_]*)[ \t]*\}\}(?!\})")
_OPENS = re.compile(r"\{[{%#]")


def check_plain(config: Mapping[str, object]) -> None:
    """Make sure that nothing in a task is code, wherever it stands.

    Raises:
        ValueError: a key that is not among the known ones, or a template that does more than
            name columns.
    """
    _check_keys(config, _KEYS, "")
    for key, known in _WITHIN.items():
        within = config.get(key)
        if isinstance(within, dict):
            _check_keys(within, known, f"{key}.")
        elif within is not None:
            raise ValueError(f"key {key}, expected names and values")
    for key, value in config.items():
        for text in _texts(value):
            if _OPENS.search(_PLACEHOLDER.sub(" ", text)):
                raise ValueError(f"key {key}: a template, expected {{{{column}}}} and no other")


def columns_of(config: Mapping[str, object]) -> set[str]:
    """The columns that its templates name."""
    return {name for text in _texts(dict(config)) for name in _PLACEHOLDER.findall(text)}


def _check_keys(found: Mapping[str, object], known: frozenset[str], above: str) -> None:
    for key in found:
        if key not in known:
            raise ValueError(f"key {above}{key}, expected one of {', '.join(sorted(known))}")


def _texts(value: object) -> Iterator[str]:
    """All texts in a value of YAML, names among them."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, list | tuple):
        for one in value:
            yield from _texts(one)
    elif isinstance(value, dict):
        for name, one in value.items():
            yield from _texts(name)
            yield from _texts(one)
