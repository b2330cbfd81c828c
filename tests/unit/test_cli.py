"""The command line: quick to help, and one line when something is wrong."""

import os
import re
import statistics
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from fedloom.cli.commands.config import TEMPLATE
from fedloom.cli.main import COMMANDS, main
from fedloom.cli.running import ARM_CHOICES

PROGRAM = Path(sys.executable).parent / "fedloom"
HEAVY = ("torch", "transformers", "flwr", "peft", "opacus", "datasets", "numpy", "pydantic")


@dataclass(frozen=True, kw_only=True)
class Outcome:
    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        return self.err.splitlines()


Run = Callable[..., Outcome]


@pytest.fixture
def fedloom(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[Run]:
    """The command inside this process, in an empty folder."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str | Path) -> Outcome:
        monkeypatch.setattr(sys, "argv", ["fedloom", *map(str, arguments)])
        code = 0
        try:
            main()
        except SystemExit as stop:
            code = int(stop.code or 0)
        said = capsys.readouterr()
        return Outcome(code=code, out=said.out, err=said.err)

    with warnings.catch_warnings():
        yield run


def program(*arguments: str | Path, cwd: Path) -> Outcome:
    """The installed command in a process of its own."""
    done = subprocess.run(
        [PROGRAM, *arguments], cwd=cwd, capture_output=True, text=True, check=False
    )
    return Outcome(code=done.returncode, out=done.stdout, err=done.stderr)


def is_one_line(outcome: Outcome, *words: str) -> bool:
    said = outcome.err
    return (
        outcome.code == 1
        and len(outcome.lines) == 1
        and said.startswith("fedloom: ")
        and "Traceback" not in said
        and all(word in said for word in words)
    )


@pytest.mark.parametrize(
    "arguments", [("--help",), ("--version",), ("config", "--help"), ("simulate", "--help")]
)
def test_help_imports_no_library_that_takes_seconds(arguments: tuple[str, ...]) -> None:
    code = (
        "import sys\nfrom fedloom.cli.main import main\n"
        f"sys.argv = ['fedloom', *{arguments!r}]\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        f"print('HEAVY', [name for name in {HEAVY!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    allowed = {"pydantic", "numpy"} if arguments[0] == "simulate" else set()
    heavy = [name for name in HEAVY if f"'{name}'" in done.stdout.splitlines()[-1]]
    assert set(heavy) <= allowed


def test_help_is_there_at_once(tmp_path: Path) -> None:
    def seconds() -> float:
        began = time.perf_counter()
        assert program("--help", cwd=tmp_path).code == 0
        return time.perf_counter() - began

    assert statistics.median(seconds() for _ in range(3)) < 0.3


def test_help_names_every_command(fedloom: Run) -> None:
    said = fedloom("--help")
    assert said.code == 0
    for name, (*_, text) in COMMANDS.items():
        assert name in said.out
        assert text.split()[0] in said.out


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_exists_and_explains_itself(fedloom: Run, name: str) -> None:
    # A command whose module or attribute is misnamed would fail here.
    said = fedloom(name, "--help")
    assert said.code == 0
    assert said.out.startswith("Usage: ")
    assert f"fedloom {name} " in said.out.splitlines()[0]


GROUPS = [("--help",), ("site", "--help"), ("ledger", "--help"), ("config", "--help")]


@pytest.mark.parametrize("arguments", GROUPS)
def test_no_line_of_help_is_cut_off(fedloom: Run, arguments: tuple[str, ...]) -> None:
    said = fedloom(*arguments)
    assert said.code == 0 and "..." not in said.out.partition("Options:")[2]


def test_a_service_says_when_it_starts_before_it_loads_libraries(tmp_path: Path) -> None:
    """They take seconds, in which a steward would wonder whether anything happens."""
    code = (
        "import logging, sys\nfrom fedloom.cli.main import main\n"
        "class Seen(logging.StreamHandler):\n"
        "    def emit(self, record):\n"
        "        print('torch' in sys.modules, record.getMessage())\n"
        "logging.getLogger('fedloom').addHandler(Seen())\n"
        "sys.argv = ['fedloom', 'site', 'serve', 'nowhere.toml']\nmain()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.stdout == "False starting the trainer service of nowhere.toml\n"
    first, *_, last = done.stderr.splitlines()
    iso = (
        r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d{4} INFO starting the trainer service of nowhere.toml"
    )
    assert re.fullmatch(iso, first), first
    assert (
        last
        == "fedloom: nowhere.toml: no such file, expected a site.toml (fedloom site init makes it)"
    )


def test_an_unknown_command_is_a_usage_error(fedloom: Run) -> None:
    said = fedloom("simulat")
    assert said.code == 2
    assert "No such command 'simulat'" in said.err


def test_config_init_then_validate(fedloom: Run, tmp_path: Path) -> None:
    said = fedloom("config", "init")
    assert said.code == 0
    assert (tmp_path / "federation.toml").read_text() == TEMPLATE
    said = fedloom("config", "validate", "federation.toml")
    assert said.code == 1 and "data.sites north: no file" in said.err
    model = "model.path: no folder model; if it is a hub id, --online fetches it"
    assert said.lines[-1] == f"  {model}"
    for name in ("north.csv", "south.csv"):
        (tmp_path / name).write_text("text,label\n")
    assert fedloom("config", "validate").out.splitlines()[1] == f"note: {model}"
    (tmp_path / "model").mkdir()
    said = fedloom("config", "validate", "federation.toml")
    assert (said.code, said.out) == (0, "federation.toml: valid; 2 sites: north, south\n")


def test_config_init_never_overwrites(fedloom: Run, tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text("precious")
    said = fedloom("config", "init", "mine.toml")
    assert said.code == 1
    assert "exists already" in said.err
    assert "Traceback" not in said.err
    assert (tmp_path / "mine.toml").read_text() == "precious"


def test_config_init_into_a_folder_that_is_not_there(tmp_path: Path) -> None:
    said = program("config", "init", "nowhere/federation.toml", cwd=tmp_path)
    assert said.code == 1
    assert "Traceback" not in said.err


def test_config_problems_are_a_head_and_a_line_each(fedloom: Run, tmp_path: Path) -> None:
    text = TEMPLATE.replace("epsilon = 8.0", "epsilonn = 8.0").replace('"my-federation"', '"a b"')
    (tmp_path / "f.toml").write_text(text)
    said = fedloom("config", "validate", "f.toml")
    assert said.code == 1
    assert said.out == ""
    assert said.lines[0] == f"fedloom: f.toml: {len(said.lines) - 1} problems"
    assert all(line.startswith("  ") for line in said.lines[1:])
    assert any("did you mean epsilon?" in line for line in said.lines)


@pytest.mark.parametrize("command", ["simulate", "plan"])
def test_a_missing_federation_file(fedloom: Run, command: str, tmp_path: Path) -> None:
    said = fedloom(command, "nowhere.toml")
    assert said.code == 1
    assert said.err == "fedloom: nowhere.toml: no such file, expected a federation.toml\n"
    assert list(tmp_path.iterdir()) == []


def test_simulate_without_records_is_one_line(fedloom: Run, tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    fedloom("config", "init")
    said = fedloom("simulate", "federation.toml", "--out", "run")
    assert said.code == 1 and "Traceback" not in said.err
    last = replace(said, err=said.lines[-1])
    assert is_one_line(last, "north.csv", "no such file"), said.err
    assert not (tmp_path / "run").exists()


def test_out_and_resume_exclude_each_other(fedloom: Run) -> None:
    fedloom("config", "init")
    said = fedloom("simulate", "federation.toml", "--out", "a", "--resume", "b")
    assert said.code == 2
    assert "exclude each other" in said.err


def test_evaluate_on_a_folder_that_is_no_adapter(fedloom: Run, tmp_path: Path) -> None:
    for name in ("adapter", "model"):
        (tmp_path / name).mkdir()
    (tmp_path / "r.csv").write_text("text,label\na,b\n")
    said = fedloom("evaluate", "adapter", "--data", "r.csv", "--model", "model")
    assert is_one_line(said, "adapter", "no fedloom.json"), said.err


def test_evaluate_with_a_damaged_card(fedloom: Run, tmp_path: Path) -> None:
    for name in ("adapter", "model"):
        (tmp_path / name).mkdir()
    (tmp_path / "adapter" / "fedloom.json").write_text('{"format": 2}')
    said = fedloom("evaluate", "adapter", "--data", "r.csv", "--model", "model")
    assert is_one_line(said, "fedloom.json: format: got 2"), said.err


def test_evaluate_without_the_model(fedloom: Run) -> None:
    said = fedloom("evaluate", "adapter", "--data", "r.csv", "--model", "no/such/model")
    assert is_one_line(said, "no/such/model"), said.err


@pytest.mark.parametrize("command", ["fetch", "demo"])
def test_offline_without_assets_is_one_line(fedloom: Run, command: str, tmp_path: Path) -> None:
    said = fedloom(command, "--offline", "--cache", tmp_path / "cache")
    assert is_one_line(said, "vaderSentiment", "--offline"), said.err
    assert not (tmp_path / "runs").exists()


def test_debug_shows_the_traceback_and_else_it_is_hidden(tmp_path: Path) -> None:
    quiet = program("config", "validate", "nowhere.toml", cwd=tmp_path)
    loud = program("--debug", "config", "validate", "nowhere.toml", cwd=tmp_path)
    assert (quiet.code, loud.code) == (1, 1)
    assert "Traceback" not in quiet.err
    assert "Traceback (most recent call last)" in loud.err
    assert "ConfigError" in loud.err
    assert quiet.out == loud.out == ""


# What a message says must not depend on the terminal's encoding.
def test_a_plain_terminal_gets_the_error_too(tmp_path: Path) -> None:
    (tmp_path / "f.toml").write_text(TEMPLATE.replace('"my-federation"', f'"{"é" * 80}"'), "utf-8")
    done = subprocess.run(
        [PROGRAM, "config", "validate", "f.toml"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONIOENCODING": "ascii", "LC_ALL": "C", "PYTHONUTF8": "0"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "federation.name" in done.stderr
    assert "Traceback" not in done.stderr


def test_help_says_what_each_comparison_trains(fedloom: Run) -> None:
    """`mitigated` trains the arm without privacy too, which takes as long again."""
    lines = [line.split() for line in fedloom("simulate", "--help").out.splitlines()]
    for choice in ARM_CHOICES:
        assert any(line[:1] == [choice] and len(line) > 1 for line in lines), choice
    (mitigated,) = [line for line in lines if line[:1] == ["mitigated"]]
    assert "non-private" in mitigated
