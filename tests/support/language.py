"""Tiny random language models of three families, and records that they can learn to answer."""

import random
from pathlib import Path

import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
    T5Config,
    T5ForConditionalGeneration,
)

from fedloom.shared.data.records import Record
from tests.support.tiny import BAD, FILLER, GOOD

# As of real chat models: every turn has a beginning and an end, and the system turn is optional.
TEMPLATE = (
    "{% for message in messages %}<s> {{ message['role'] }} {{ message['content'] }} </s> "
    "{% endfor %}{% if add_generation_prompt %}<s> assistant {% endif %}"
)
WORDS = ("[PAD]", "<s>", "</s>", "[UNK]", "system", "user", "assistant", "good", "bad", "?")


def write_word_tokenizer(
    folder: Path, *, chat: bool, ends: bool = False, more: tuple[str, ...] = ()
) -> int:
    """A word-level tokenizer that knows `more` words too; with `ends`, it closes every text
    itself, as T5's does."""
    folder.mkdir(parents=True, exist_ok=True)
    words = list(dict.fromkeys([*WORDS, *GOOD, *BAD, *FILLER, *more]))
    inner = Tokenizer(models.WordLevel({word: at for at, word in enumerate(words)}, "[UNK]"))
    inner.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    if ends:
        from tokenizers.processors import TemplateProcessing

        inner.post_processor = TemplateProcessing(
            single="$A </s>", special_tokens=[("</s>", words.index("</s>"))]
        )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=inner, pad_token="[PAD]", eos_token="</s>", unk_token="[UNK]"
    )
    if chat:
        tokenizer.chat_template = TEMPLATE
    tokenizer.save_pretrained(folder)
    return len(words)


def write_tiny_llama(
    folder: Path, *, layers: int = 2, width: int = 16, words: tuple[str, ...] = ()
) -> Path:
    """Grouped queries, RMS norms, tied embeddings, a chat template; it knows `words` too."""
    size = write_word_tokenizer(folder, chat=True, more=words)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=size,
        hidden_size=width,
        intermediate_size=2 * width,
        num_hidden_layers=layers,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=64,
        tie_word_embeddings=True,
        bos_token_id=1,
        eos_token_id=2,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    return folder


def write_tiny_gpt2(folder: Path) -> Path:
    """Learned positions, transposed weights in one layer for queries, keys and values."""
    size = write_word_tokenizer(folder, chat=False)
    torch.manual_seed(0)
    config = GPT2Config(
        vocab_size=size, n_embd=16, n_layer=2, n_head=2, n_positions=32, bos_token_id=1,
        eos_token_id=2,
    )  # fmt: skip
    GPT2LMHeadModel(config).save_pretrained(folder)
    return folder


def write_tiny_t5(folder: Path, *, width: int = 16) -> Path:
    """Encoder, decoder, relative positions."""
    size = write_word_tokenizer(folder, chat=False, ends=True)
    torch.manual_seed(0)
    config = T5Config(
        vocab_size=size, d_model=width, d_kv=width // 2, d_ff=2 * width, num_layers=2, num_heads=2,
        decoder_start_token_id=0, pad_token_id=0, eos_token_id=2,
    )  # fmt: skip
    T5ForConditionalGeneration(config).save_pretrained(folder)
    return folder


def questions(count: int, *, seed: int = 0, free: bool = False) -> list[Record]:
    """Records whose answer, good or bad, follows from one word; of several lengths if `free`."""
    generator = random.Random(seed)
    found = []
    for number in range(count):
        label = generator.randrange(2)
        words = generator.choices(FILLER, k=generator.randint(2, 9))
        words.append(generator.choice((GOOD, BAD)[label]))
        answer = ("good", "bad")[label]
        if free:
            answer = " ".join([answer, *words[: generator.randint(0, 3)]])
        found.append(
            Record(
                text=" ".join(words),
                label=-1 if free else label,
                unit=f"u{seed}-{number}",
                answer=answer,
            )
        )
    return found
