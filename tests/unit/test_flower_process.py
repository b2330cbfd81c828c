"""What is changed in Flower's own processes: each change must still take with its version."""

import inspect
import json
import os
import subprocess
import sys
import time
from pathlib import Path

CHILD = """
import importlib, json, sys, time
from fedloom.shared import flower_process
{body}
"""


def in_a_process(body: str) -> str:
    """Changes of modules must not outlive their test."""
    done = subprocess.run(
        [sys.executable, "-c", CHILD.format(body=body)],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "FLWR_TELEMETRY_ENABLED": "0"},
    )
    return done.stdout


def test_a_tasks_token_is_in_a_file_and_not_on_the_command_line(tmp_path: Path) -> None:
    """A command line can be read by every user of the machine."""
    folder = tmp_path / "flower" / "tasks"
    folder.mkdir(parents=True, mode=0o700)
    (folder / "of one that was killed").write_text("old")
    said = in_a_process(f"""
import pathlib
flower_process.hide_task_tokens(pathlib.Path({str(folder)!r}))
module = importlib.import_module("flwr.supercore.superexec.executor.subprocess_executor")
show = "import os,sys; p=sys.argv[sys.argv.index('--token-file')+1]; " \\
       "print(sys.argv[1:], oct(os.stat(p).st_mode & 0o777), open(p).read())"
command = [sys.executable, "-c", show, "--token", "s3cret", "--parent-pid", "1"]
child = module.subprocess.Popen(command, stdout=open({str(tmp_path / "out")!r}, "w"))
child.wait()
""")
    assert said == ""
    shown = (tmp_path / "out").read_text()
    assert "'--token'" not in shown and "--parent-pid" in shown
    assert shown.rstrip().endswith("0o600 s3cret")
    assert [path.read_text() for path in folder.iterdir()] == ["s3cret"]


def test_flower_still_starts_its_tasks_by_what_is_changed() -> None:
    """If Flower takes another way, tokens would be on command lines again, unnoticed."""
    from flwr.supercore.superexec.executor import subprocess_executor

    source = inspect.getsource(subprocess_executor)
    assert "subprocess.Popen(" in source and '"--token"' in source


def test_a_node_looks_for_tasks_at_once_and_not_every_three_seconds() -> None:
    began = time.monotonic()
    said = in_a_process("""
name = "flwr.supernode.start_client_internal"
flower_process.shorten_pauses({3: 0.05}, name)
module = sys.modules[name]
began = time.monotonic()
module.time.sleep(3)
print(json.dumps([time.monotonic() - began, time.sleep is not module.time.sleep]))
""")
    slept, apart = json.loads(said)
    assert 0.04 < slept < 1 and apart
    assert time.monotonic() - began < 30


def test_flowers_node_still_waits_where_it_is_changed() -> None:
    import flwr.supernode.start_client_internal  # noqa: F401

    module = sys.modules["flwr.supernode.start_client_internal"]
    source = inspect.getsource(module)
    assert "time.sleep(3)" in source and "time.sleep(0.5)" in source


def test_a_relay_starts_without_the_node_and_its_database() -> None:
    said = in_a_process("""
from fedloom.client.deploy import launch
sys.argv = ["flwr-clientapp", "--help"]
try:
    launch.relay()
except SystemExit as end:
    loaded = {"sqlalchemy", "flwr.supernode.start_client_internal"} & set(sys.modules)
    print(json.dumps([end.code, sorted(loaded)]))
""")
    assert json.loads(said.splitlines()[-1]) == [0, []]
