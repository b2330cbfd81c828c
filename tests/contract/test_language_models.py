"""Every family of language models: one loss a record, gradients of single records, likelihoods.

The references are the models of transformers alone, one record at a time and without padding.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from peft import PeftModel
from torch.nn.functional import cross_entropy
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSeq2SeqLM,
    AutoTokenizer,
    OPTConfig,
    OPTForCausalLM,
)

from fedloom.client.training.trainer import Trainer
from fedloom.server.evaluator.bench import plan_bench
from fedloom.server.initial import save_adapter
from fedloom.shared.adapter import Adapter
from fedloom.shared.config.sections import Quantization, TaskSection
from fedloom.shared.data.records import Record
from fedloom.shared.model.lora import attach_lora, live_parameters, write_adapter
from fedloom.shared.model.quantization import holding
from fedloom.shared.plan import Plan
from fedloom.shared.tasks.base import Example, padded
from fedloom.shared.tasks.registry import load_base, make_task
from tests.support.language import (
    questions,
    write_tiny_gpt2,
    write_tiny_llama,
    write_tiny_t5,
    write_word_tokenizer,
)
from tests.support.training import (
    check_alone_in_its_batch,
    fixed_stream,
    make_plan,
    shapes_of_rows,
    site_plan,
    units_of,
    warmed,
)


@dataclass(frozen=True, kw_only=True)
class Family:
    write: Callable[[Path], Path]
    targets: tuple[str, ...]
    kind: str
    auto: type
    quantization: Quantization = "none"


FAMILIES = {
    "llama": Family(
        write=write_tiny_llama,
        targets=("q_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"),
        kind="causal-lm",
        auto=AutoModelForCausalLM,
    ),
    "llama in four bits": Family(
        # On some processors bitsandbytes packs weights in blocks of 32 rows.
        write=partial(write_tiny_llama, width=64),
        targets=("q_proj", "v_proj", "gate_proj"),
        kind="causal-lm",
        auto=AutoModelForCausalLM,
        quantization="nf4",
    ),
    "gpt2": Family(
        write=write_tiny_gpt2,
        targets=("c_attn", "c_fc"),
        kind="causal-lm",
        auto=AutoModelForCausalLM,
    ),
    "t5": Family(
        write=write_tiny_t5, targets=("q", "v"), kind="seq2seq", auto=AutoModelForSeq2SeqLM
    ),
}
LABELS = ("good", "bad")


@dataclass(frozen=True, kw_only=True)
class Made:
    family: Family
    model: Path
    plan: Plan

    def reference(self, adapter: Adapter) -> "torch.nn.Module":
        base = load_base(self.plan, self.model)
        tuned = attach_lora(base, self.plan.lora).train()
        write_adapter(live_parameters(tuned), adapter)
        return tuned


@pytest.fixture(params=sorted(FAMILIES))
def family(request: pytest.FixtureRequest) -> Family:
    return FAMILIES[request.param]


def make(family: Family, home: Path, *, labels: tuple[str, ...] = (), **more: object) -> Made:
    model = family.write(home / "model")
    task = TaskSection(kind=family.kind, labels=labels)
    silent = site_plan(noise=1e-9)
    plan = make_plan(model, targets=family.targets, site=silent, task=task, **more)
    held = plan.model.model_copy(update={"quantization": family.quantization})
    plan = plan.model_copy(update={"model": held})
    return Made(family=family, model=model, plan=plan)


def in_words(made: Made, record: Record, answer: str) -> tuple[list[int], list[int]]:
    """Prompt and answer as token ids, spelt out by hand for the tiny tokenizers."""
    tokenizer = AutoTokenizer.from_pretrained(made.model)
    chat = (f"<s> user {record.text} </s> <s> assistant", f"{answer} </s>")
    prompt, said = {
        "llama": chat,
        "llama in four bits": chat,
        "gpt2": (record.text, f"{answer} </s>"),
        "t5": (record.text, answer),
    }[_name(made.family)]
    ids = [tokenizer(text)["input_ids"] for text in (prompt, said)]
    return ids[0], ids[1]


def _name(family: Family) -> str:
    return next(name for name, each in FAMILIES.items() if each is family)


def token_losses(made: Made, model: torch.nn.Module, record: Record, answer: str) -> torch.Tensor:
    prompt, said = in_words(made, record, answer)
    if made.family.kind == "seq2seq":
        logits = model(
            input_ids=torch.tensor([prompt]), decoder_input_ids=torch.tensor([[0, *said[:-1]]])
        ).logits[0]
    else:
        whole = model(input_ids=torch.tensor([prompt + said])).logits[0]
        logits = whole[len(prompt) - 1 : -1]
    return cross_entropy(logits, torch.tensor(said), reduction="none")


@pytest.mark.parametrize("micro_tokens", [7 * 32, 40])
def test_a_private_step_equals_a_loop_over_single_records(
    family: Family, tmp_path: Path, micro_tokens: int
) -> None:
    """Catches rows that see each other, a shift by one, a loss on the prompt or on padding."""
    made = make(family, tmp_path, clip_norm=0.15, micro_tokens=micro_tokens)
    trainer = Trainer(made.plan, made.model)
    adapter = warmed(trainer, made.plan, made.model)
    rows = questions(11, free=True)
    found = -trainer.train(made.plan.sites[0], units_of(trainer, rows), stream=fixed_stream())
    tuned = made.reference(adapter)
    live = live_parameters(tuned)
    expected, norms = np.zeros(trainer.trained.size), []
    for record in rows:
        tuned.zero_grad()
        token_losses(made, tuned, record, record.answer).mean().backward()
        unit = np.concatenate(
            [live[spec.name].grad.double().numpy().ravel() for spec in trainer.trained.tensors]
        )
        norms.append(float(np.linalg.norm(unit)))
        expected += unit * min(1.0, 0.15 / norms[-1])
    assert max(norms) > 0.15
    np.testing.assert_allclose(found, expected, atol=2e-5)


def test_labels_are_weighed_by_the_likelihood_of_their_tokens(
    family: Family, tmp_path: Path
) -> None:
    """Catches a wrong place, a wrong end, and labels of several tokens that share passes."""
    labels = ("good", "bad", "good film", "the bad book")
    made = make(family, tmp_path, labels=labels)
    adapter = warmed(Trainer(made.plan, made.model), made.plan, made.model)
    predictor = plan_bench(made.plan, made.model, batch_size=4)
    rows = questions(9)
    found = predictor.outcomes(adapter, predictor.encode(rows))
    tuned = made.reference(adapter).eval()
    for record, row, loss in zip(rows, found.probabilities, found.loss, strict=True):
        logs = []
        for label in labels:
            with torch.inference_mode():
                each = token_losses(made, tuned, record, label)
            # The mark that ends all answers says nothing about which one it is.
            logs.append(-float(each[: len(label.split())].sum()))
        expected = np.exp(logs) / np.exp(logs).sum()
        np.testing.assert_allclose(row, expected, atol=1e-5)
        assert loss == pytest.approx(-np.log(expected[record.label]), abs=1e-4)


def test_free_answers_are_right_if_greedy_decoding_gives_them(
    family: Family, tmp_path: Path
) -> None:
    """Catches a comparison shifted by a place: what `generate` says is right, the rest is not."""
    made = make(family, tmp_path)
    adapter = warmed(Trainer(made.plan, made.model), made.plan, made.model)
    tuned = made.reference(adapter).eval()
    tokenizer = AutoTokenizer.from_pretrained(made.model)
    rows, truths = [], []
    for record in questions(12, free=True):
        prompt, _ = in_words(made, record, "")
        prompt = prompt if made.family.kind == "causal-lm" else in_words(made, record, "good")[0]
        said = tuned.generate(
            input_ids=torch.tensor([prompt]), max_new_tokens=3, do_sample=False, min_new_tokens=3
        )[0]
        said = said[1:] if made.family.kind == "seq2seq" else said[len(prompt) :]
        answer = tokenizer.decode(said[:2])
        rows += [replace(record, answer=answer), replace(record, answer=f"{answer} plot")]
        truths.append(answer)
    task = make_task(made.plan.task)
    base = task.load(made.model, seed=0)
    examples = task.encode(rows, base.tokenizer, max_length=32)
    # Judge the words alone: what ends an answer is for the model to learn.
    examples = [
        replace(
            example,
            answer=example.answer[:2] if at % 2 == 0 else example.answer[:3],
            tokens=example.tokens
            if made.family.kind == "seq2seq"
            else example.tokens[: len(example.tokens) - len(example.answer) + 2 + at % 2],
        )
        for at, example in enumerate(examples)
    ]
    with torch.inference_mode():
        found = task.answers(tuned, examples, base.tokenizer)
    assert found.probabilities is None
    assert found.right[::2].all()
    assert found.loss.shape == (24,) and bool((found.loss > 0).all())


def test_plain_peft_loads_what_was_trained(family: Family, tmp_path: Path) -> None:
    made = make(family, tmp_path, labels=LABELS)
    adapter = warmed(Trainer(made.plan, made.model), made.plan, made.model)
    save_adapter(made.plan, made.model, adapter, target=tmp_path / "adapter")
    base = family.auto.from_pretrained(made.model, **holding(family.quantization))
    loaded = PeftModel.from_pretrained(base, str(tmp_path / "adapter")).eval()
    tuned = made.reference(adapter).eval()
    for record in questions(3):
        with torch.inference_mode():
            ours = token_losses(made, tuned, record, "good")
            theirs = token_losses(made, loaded, record, "good")
        np.testing.assert_allclose(ours, theirs, atol=1e-5)


def test_the_adapters_readme_runs_as_it_stands(family: Family, tmp_path: Path) -> None:
    """Catches instructions that load another model than the one that was trained."""
    made = make(family, tmp_path, labels=LABELS)
    adapter = warmed(Trainer(made.plan, made.model), made.plan, made.model)
    target = tmp_path / "adapter"
    save_adapter(made.plan, made.model, adapter, target=target)
    text = (target / "README.md").read_text(encoding="utf-8")
    code = text.split("```python\n")[1].split("```")[0].replace("=64)", "=3)")
    scope: dict[str, object] = {"BASE": str(made.model), "ADAPTER": str(target)}
    exec(compile(code, "README.md", "exec"), scope)  # noqa: S102
    ours, theirs = made.reference(adapter).eval(), scope["model"]
    record = questions(1)[0]
    with torch.inference_mode():
        expected, found = (token_losses(made, each, record, "good") for each in (ours, theirs))
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_prompts_too_long_lose_their_beginning_and_keep_their_answer(
    family: Family, tmp_path: Path
) -> None:
    made = make(family, tmp_path)
    trainer = Trainer(made.plan, made.model)
    long = Record(text="the film was and " * 60, label=-1, unit="long", answer="good")
    endless = replace(long, answer="bad " * 200)
    units = units_of(trainer, [long, endless])
    for example in units.examples:
        assert len(example.tokens) <= 32 and len(example.answer) <= 32
    assert units.examples[0].answer[0] == in_words(made, long, "good")[1][0]
    delta = trainer.train(made.plan.sites[0], units, stream=fixed_stream())
    assert np.isfinite(delta).all()


@pytest.mark.parametrize("how", ["says so", "stumbles"])
def test_a_record_that_the_template_cannot_say_teaches_nothing(tmp_path: Path, how: str) -> None:
    """Catches a template's error that reaches the server as a failed round: one bit of a record."""
    made = make(FAMILIES["llama"], tmp_path)
    tokenizer = AutoTokenizer.from_pretrained(made.model)
    refusing = {
        "says so": "{{ raise_exception('no') if 'nasty' in messages[0]['content'] }}",
        "stumbles": "{{ messages[0]['content'].index('x') if 'nasty' in messages[0]['content'] }}",
    }[how]
    tokenizer.chat_template = refusing + tokenizer.chat_template
    tokenizer.save_pretrained(made.model)
    plan = make(FAMILIES["llama"], tmp_path / "again").plan
    trainer = Trainer(plan, made.model)
    warmed(trainer, plan, made.model)
    odd = Record(text="a nasty film", label=-1, unit="odd", answer="bad")
    rows = questions(4, free=True)
    rows = [row for row in rows if "nasty" not in row.text]
    silent = plan.sites[0]
    without = trainer.train(silent, units_of(trainer, rows), stream=fixed_stream())
    trainer.load(trainer.start)
    with_odd = trainer.train(silent, units_of(trainer, [*rows, odd]), stream=fixed_stream())
    np.testing.assert_allclose(with_odd, without, atol=1e-6)


def check_one_long_answer_moves_nobody_else_in_bf16(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = write_tiny_t5(home / "model", width=128)
    silent = site_plan(noise=1e-9)
    plan = make_plan(
        model,
        micro_tokens=32 * 32,
        targets=("q", "v"),
        site=silent,
        task=TaskSection(kind="seq2seq"),
    )
    training = plan.training.model_copy(update={"precision": "bf16"})
    trainer = Trainer(plan.model_copy(update={"training": training}), model)
    adapter = warmed(trainer, plan, model)
    rows = questions(192, free=True)
    long = Record(text="the film", label=-1, unit="long", answer="bad " * 25)

    def summed(chosen: list[Record]) -> np.ndarray:
        trainer.load(adapter)
        units = units_of(trainer, chosen)
        return trainer.train(silent, units, stream=fixed_stream()).astype(np.float64)

    check_alone_in_its_batch(summed, long, rows, shapes_of_rows(monkeypatch, plan))


def test_one_long_answer_moves_nobody_else_in_bf16(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    check_one_long_answer_moves_nobody_else_in_bf16(tmp_path, monkeypatch)


def test_control_answers_padded_by_the_longest_that_was_drawn_are_caught(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Example, "bucket", property(lambda self: (padded(len(self.tokens)), 8)))
    with pytest.raises(AssertionError):
        check_one_long_answer_moves_nobody_else_in_bf16(tmp_path, monkeypatch)


def test_a_length_that_the_model_cannot_take_is_cut_whatever_the_plan_says(tmp_path: Path) -> None:
    """OPT's and BART's positions are named otherwise: a server that asks for more than they have
    would learn from an error that some record is long."""
    folder = tmp_path / "model"
    size = write_word_tokenizer(folder, chat=False)
    torch.manual_seed(0)
    config = OPTConfig(
        vocab_size=size, hidden_size=16, ffn_dim=32, num_hidden_layers=2, num_attention_heads=2,
        max_position_embeddings=24, word_embed_proj_dim=16, pad_token_id=0, eos_token_id=2,
    )  # fmt: skip
    OPTForCausalLM(config).save_pretrained(folder)
    plan = make_plan(folder, targets=("q_proj",), task=TaskSection(kind="causal-lm"))
    plan = plan.model_copy(update={"model": plan.model.model_copy(update={"max_length": 512})})
    trainer = Trainer(plan, folder)
    long = Record(text="the film was good and " * 30, label=-1, unit="long", answer="good")
    units = units_of(trainer, [long])
    assert len(units.examples[0].tokens) <= 24
    assert np.isfinite(trainer.train(plan.sites[0], units, stream=fixed_stream())).all()
