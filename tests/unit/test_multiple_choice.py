"""Multiple choice by likelihood: counted by hand, and against lm-eval on a real tiny model."""

import sys
from pathlib import Path

import numpy as np
import pytest

from fedloom.server.evaluator.audits.harness import offline
from fedloom.server.evaluator.audits.local_task import LocalTask
from fedloom.server.evaluator.audits.multiple_choice import MultipleChoice, MultipleChoiceOptions
from fedloom.server.evaluator.audits.tasks import Tasks, TasksOptions
from fedloom.server.evaluator.corpus import Corpus, pick
from fedloom.server.evaluator.suite import read_suite
from fedloom.shared.config.sections import TaskSection
from fedloom.shared.data.records import Record
from fedloom.shared.errors import ConfigError, DataError, EvaluationError
from tests.support.language import questions, write_tiny_gpt2
from tests.support.subjects import a_sentiment, a_speaker, a_tiny_model, write_task

# Of different lengths, so that letters matter; both are words of the tiny tokenizer.
LABELS = ("good", "assistant")


def a_record(text: str, label: int) -> Record:
    return Record(text=text, label=label, unit=text, answer=LABELS[label])


def asked(count: int) -> tuple[Record, ...]:
    return tuple(a_record(one.text, one.label) for one in questions(count, seed=5))


def multiple_choice(*shots: int, records: int = 1000) -> MultipleChoice:
    return MultipleChoice(MultipleChoiceOptions(shots=shots or (0,), records=records))


def test_letters_change_what_is_likeliest() -> None:
    """good, 4 letters, at -4 nats and assistant, 9 letters, at -6: the first is likelier, the
    second likelier by the letter."""
    subject = a_speaker(
        lambda prompt, answer: {" good": -4.0, " assistant": -6.0}[answer], labels=LABELS
    )
    records = tuple(a_record(f"q{at}", int(at == 0)) for at in range(4))
    found = multiple_choice().measure(subject, Corpus(tests={"north": records}))
    assert found.samples["accuracy_0"].tolist() == [0, 1, 1, 1]
    assert found.samples["accuracy_letters_0"].tolist() == [1, 0, 0, 0]


def test_examples_come_before_and_are_left_out_for_all() -> None:
    """Catches an example that is asked for its own answer: the model below answers only what it
    has read before, with the answer that stood after it."""
    seen: list[str] = []

    def rates(prompt: str, answer: str) -> float:
        seen.append(prompt)
        *before, question = prompt.split("\n")
        said = dict(zip(before[::2], before[1::2], strict=True))
        return 0.0 if said.get(question) == answer.strip() else -1.0 - len(answer)

    records = tuple(a_record(f"q{at}", 1) for at in range(10))
    subject = a_speaker(rates, labels=LABELS)
    found = multiple_choice(0, 2).measure(subject, Corpus(tests={"north": records}))
    examples = [f"q{at}" for at in pick(2, of=10)]
    assert found.samples["accuracy_2"].sum() == 0
    assert found.samples["accuracy_0"].size == found.samples["accuracy_2"].size == 8
    questions_asked = {prompt.split("\n")[-1] for prompt in seen}
    assert questions_asked == {record.text for record in records} - set(examples)
    with_examples = [prompt for prompt in seen if "\n" in prompt]
    start = "\n".join(f"{text}\nassistant" for text in examples)
    assert all(prompt.startswith(start) for prompt in with_examples)


def test_a_model_that_learns_from_examples_is_seen_to() -> None:
    """Planted: right only after examples; at zero shots it always says the wrong thing."""
    subject = a_speaker(
        lambda prompt, answer: -1.0 if ("\n" in prompt) == (answer == " assistant") else -9.0,
        labels=LABELS,
    )
    records = tuple(a_record(f"q{at}", 1) for at in range(30))
    found = multiple_choice(0, 1).measure(subject, Corpus(tests={"north": records})).findings
    values = {figure.key: figure.value for figure in found.figures}
    assert values["accuracy_0"] == 0 and values["accuracy_1"] == 1
    assert "100.0%" in found.tables[0].note


def test_fewer_records_than_examples_and_classifiers_are_refused() -> None:
    records = Corpus(tests={"north": tuple(a_record(f"q{at}", 0) for at in range(4))})
    subject = a_speaker(lambda prompt, answer: -1.0, labels=LABELS)
    assert "4 are needed as examples" in multiple_choice(4).why_not(subject, records)
    assert multiple_choice(3).why_not(subject, records) == ""
    assert "classifier" in multiple_choice().why_not(a_sentiment(), records)
    free = a_speaker(lambda prompt, answer: -1.0)
    assert "free text" in multiple_choice().why_not(free, records)


def test_questions_that_fill_the_model_are_counted(tmp_path: Path) -> None:
    """Catches examples that are cut off without a word: 20 do not fit 32 places."""
    task = TaskSection(kind="causal-lm", labels=LABELS)
    subject = a_tiny_model(write_tiny_gpt2(tmp_path), task, max_length=32)
    corpus = Corpus(tests={"north": asked(40)})
    found = multiple_choice(0, 20).measure(subject, corpus).findings
    assert [row[3] for row in found.tables[0].rows] == [0, 20]
    assert found.caveats[0].startswith("With 20 examples, 20 of 20 questions are as long as")


@pytest.mark.parametrize("shots", [0, 1])
def test_lm_eval_says_the_same(tmp_path: Path, shots: int) -> None:
    """Another implementation, its own prompts, batches and truncation. The tiny tokenizer parts
    words at any white space, so that lines of ours and of lm-eval are the same tokens."""
    records = asked(40)
    # Where we pick one example, lm-eval takes the first: the same record.
    assert pick(1, of=40) == [0]
    task = TaskSection(kind="causal-lm", labels=LABELS)
    subject = a_tiny_model(write_tiny_gpt2(tmp_path / "model"), task)
    corpus = Corpus(tests={"north": records})
    ours = multiple_choice(shots).measure(subject, corpus).samples
    more = "fewshot_split: shots\nfewshot_config: {sampler: first_n}" if shots else ""
    path = write_task(tmp_path / "task", records, LABELS, shots=shots, more=more)
    tasks = Tasks(TasksOptions.model_validate({"tasks": [str(path)]}))
    assert tasks.why_not(subject, corpus) == ""
    found = tasks.measure(subject, corpus)
    assert np.array_equal(found.samples["mine_acc"], ours[f"accuracy_{shots}"])
    assert np.array_equal(found.samples["mine_acc_norm"], ours[f"accuracy_letters_{shots}"])
    # Or the two could agree by always saying one thing.
    assert 0 < ours[f"accuracy_{shots}"].mean() < 1
    assert not np.array_equal(found.samples["mine_acc"], found.samples["mine_acc_norm"])


def test_metrics_that_are_no_mean_are_named(tmp_path: Path) -> None:
    task = TaskSection(kind="causal-lm", labels=LABELS)
    subject = a_tiny_model(write_tiny_gpt2(tmp_path / "model"), task)
    path = write_task(tmp_path / "task", asked(12), LABELS)
    path.write_text(path.read_text().replace("{metric: acc_norm}", "{metric: f1}"))
    audit = Tasks(TasksOptions.model_validate({"tasks": [path]}))
    found = audit.measure(subject, Corpus(tests={"north": ()})).findings
    assert [figure.key for figure in found.figures] == ["mine_acc"]
    assert found.caveats == ("mine_f1 is left out: it is no mean over records.",)


def test_a_metric_from_the_network_is_refused(tmp_path: Path) -> None:
    task = TaskSection(kind="causal-lm", labels=LABELS)
    subject = a_tiny_model(write_tiny_gpt2(tmp_path / "model"), task)
    path = write_task(tmp_path / "task", asked(4), LABELS)
    path.write_text(path.read_text().replace("acc_norm", "rouge"))
    audit = Tasks(TasksOptions.model_validate({"tasks": [path]}))
    with pytest.raises(EvaluationError, match="metric rouge, expected one that lm-eval has"):
        audit.measure(subject, Corpus(tests={"north": ()}))


def test_without_the_extra_one_line_says_so(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "lm_eval", None)
    path = write_task(tmp_path, asked(4), LABELS)
    audit = Tasks(TasksOptions.model_validate({"tasks": [path]}))
    subject = a_speaker(lambda prompt, answer: -1.0, labels=LABELS)
    why = audit.why_not(subject, Corpus(tests={}))
    assert why == "lm-eval is not installed, expected the extra fedloom[lm-eval]"
    assert "causal language models alone" in audit.why_not(a_sentiment(), Corpus(tests={}))


SUITE = '[suite]\nname = "own"\n[audits.lm-eval]\ntasks = ["tasks/task.yaml"]\n'


def test_a_task_is_found_beside_the_suite_and_known_by_its_content(tmp_path: Path) -> None:
    """Catches kept findings of a task whose records have changed since, and a digest of a suite
    that depends on the folder it lies in."""
    digests = []
    for folder, count in (("here", 6), ("there", 6), ("changed", 7)):
        write_task(tmp_path / folder / "tasks", asked(count), LABELS)
        (tmp_path / folder / "suite.toml").write_text(SUITE)
        digests.append(read_suite(tmp_path / folder / "suite.toml").sha256)
    assert digests[0] == digests[1] != digests[2]


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("dataset_path: json", "dataset_path: openai/gsm8k", "records from elsewhere"),
        ("doc_to_target: gold", "doc_to_target: !function x.y", "without functions of Python"),
        ("doc_to_target: gold", "include: other.yaml", "key include"),
        ("num_fewshot: 0", "process_results: x", "key process_results"),
        ("num_fewshot: 0", "generation_kwargs: {custom_generate: x}", "custom_generate, expected"),
        ("num_fewshot: 0", "fewshot_config: {samples: []}", "key fewshot_config.samples"),
        ("{{question}}", "{{question|upper}}", "key doc_to_text: a template, expected {{column}}"),
        ("{{question}}", "{% set a = 1 %}", "key doc_to_text: a template"),
        ("{{question}}", "{{{question}}}", "key doc_to_text: a template"),
        ("doc_to_target: gold", "description: '{{1}}'", "key description: a template"),
        ("test: test.jsonl", "test: ../test.jsonl", "below the YAML's folder"),
        ("test: test.jsonl", "test: /etc/hostname", "below the YAML's folder"),
        ("task: mine", "group: mine", "expected a YAML of lm-eval with its name"),
        ("test.jsonl", "gone.jsonl", "No such file"),
    ],
)
def test_a_task_that_is_not_local_and_plain_is_a_problem_of_the_suite(
    tmp_path: Path, old: str, new: str, told: str
) -> None:
    path = write_task(tmp_path / "tasks", asked(4), LABELS)
    path.write_text(path.read_text().replace(old, new))
    (tmp_path / "suite.toml").write_text(SUITE)
    with pytest.raises(ConfigError) as raised:
        read_suite(tmp_path / "suite.toml")
    assert told in str(raised.value)
    assert "audits.lm-eval.tasks[1]: " in str(raised.value)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"{{question}}"', "{attack}"),
        ("doc_to_target: gold", "doc_to_target: {attack}"),
        ('doc_to_choice: ["good", "assistant"]', "doc_to_choice: {attack}"),
        ("num_fewshot: 0", "description: {attack}"),
        ("num_fewshot: 0", "gen_prefix: {attack}"),
        ("num_fewshot: 0", "fewshot_config: {{doc_to_text: {attack}}}"),
    ],
)
def test_a_task_runs_no_code_of_its_own(tmp_path: Path, old: str, new: str) -> None:
    """lm-eval's templates reach every module of Python; the file is what the code would leave."""
    path, made = write_task(tmp_path / "tasks", asked(4), LABELS), tmp_path / "made"
    attack = f"""'{{{{ cycler.__init__.__globals__.os.system("touch {made}") }}}}'"""
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new.format(attack=attack)))
    (tmp_path / "suite.toml").write_text(SUITE)
    task = TaskSection(kind="causal-lm", labels=LABELS)
    subject = a_tiny_model(write_tiny_gpt2(tmp_path / "model"), task)
    with pytest.raises(ConfigError) as raised:
        audit = read_suite(tmp_path / "suite.toml").audits["lm-eval"]
        # Not reached; where it is, the code runs.
        audit.measure(subject, Corpus(tests={}))
    (line,) = str(raised.value).splitlines()
    assert "a template, expected {{column}} and no other" in line
    assert not made.exists()


def test_records_are_not_read_through_a_link_that_leads_out(tmp_path: Path) -> None:
    path = write_task(tmp_path / "tasks", asked(4), LABELS)
    (path.parent / "test.jsonl").rename(tmp_path / "elsewhere.jsonl")
    (path.parent / "test.jsonl").symlink_to(tmp_path / "elsewhere.jsonl")
    (tmp_path / "suite.toml").write_text(SUITE)
    with pytest.raises(ConfigError, match="expected one below the YAML's folder"):
        read_suite(tmp_path / "suite.toml")


def test_a_template_names_columns_that_are_there(tmp_path: Path) -> None:
    path = write_task(tmp_path / "tasks", asked(4), LABELS)
    path.write_text(path.read_text().replace("{{question}}", "{{ cycler }}"))
    with pytest.raises(DataError, match="no column cycler in the records of test"):
        offline(LocalTask.model_validate(path))
