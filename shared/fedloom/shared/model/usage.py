"""How to use an adapter with plain PEFT and nothing of FedLoom, for the README beside it."""

from collections.abc import Mapping
from types import MappingProxyType

from fedloom.shared.config.sections import Quantization, TaskSection

_FRAME = """## Use

`BASE` is a folder with the base model named above, `ADAPTER` this folder.

```python
from peft import PeftModel
from transformers import {auto}, AutoTokenizer{held}

base = {auto}.from_pretrained(BASE{options})
model = PeftModel.from_pretrained(base, ADAPTER).eval()
tokenizer = AutoTokenizer.from_pretrained(BASE)
{code}
```
"""
_CLASSIFY = """labels = {labels}
tokens = tokenizer("Some text.", return_tensors="pt")
print(labels[model(**tokens).logits.argmax().item()])"""
_CLASSIFY_BY_MEAN = """labels = {labels}
tokens = tokenizer("Some text.", return_tensors="pt")
# A text's scores are the mean over its tokens.
print(labels[model(**tokens).logits.mean(dim=1).argmax().item()])"""
_CHAT = """turns = [{{"role": "user", "content": "Some question."}}]
asked, templated = turns[0]["content"], bool(tokenizer.chat_template)
if templated:
    asked = tokenizer.apply_chat_template(turns, add_generation_prompt=True, tokenize=False)
# What a template writes holds the special tokens already.
tokens = tokenizer(asked, add_special_tokens=not templated, return_tensors="pt")
answer = model.generate(**tokens, max_new_tokens=64)[0, tokens["input_ids"].shape[1] :]
print(tokenizer.decode(answer, skip_special_tokens=True))"""
_ANSWER = """tokens = tokenizer("Some question.", return_tensors="pt")
print(tokenizer.decode(model.generate(**tokens, max_new_tokens=64)[0], skip_special_tokens=True))"""
_FRESH_HEAD = """
The base model is loaded with a fresh head, and says so; the adapter brings the trained one.
"""
# What is imported besides, and how the base is loaded, so that it is as it was in training.
_HELD: Mapping[Quantization, tuple[str, str]] = MappingProxyType(
    {
        "none": ("", ""),
        "nf4": (
            ", BitsAndBytesConfig",
            ', quantization_config=BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4")'
            ', dtype="float32"',
        ),
    }
)
# By task and pooling: the class of transformers that loads its model, and what to do with it.
_USES: Mapping[tuple[str, str], tuple[str, str]] = MappingProxyType(
    {
        ("classification", "model"): ("AutoModelForSequenceClassification", _CLASSIFY),
        ("classification", "mean"): ("AutoModelForTokenClassification", _CLASSIFY_BY_MEAN),
        ("causal-lm", "model"): ("AutoModelForCausalLM", _CHAT),
        ("seq2seq", "model"): ("AutoModelForSeq2SeqLM", _ANSWER),
    }
)


def how_to_use(task: TaskSection, quantization: Quantization) -> str:
    """A section of Markdown with code that runs as it stands."""
    auto, code = _USES[task.kind, task.pooling]
    classifies = task.kind == "classification"
    held, options = _HELD[quantization]
    if classifies:
        options += f", num_labels={len(task.labels)}"
    text = _FRAME.format(
        auto=auto, held=held, options=options, code=code.format(labels=list(task.labels))
    )
    return text + _FRESH_HEAD if classifies else text
