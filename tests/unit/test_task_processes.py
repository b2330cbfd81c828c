"""Processes that Flower starts for tasks end with the one that started them."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

_PARENT = """
import importlib, sys
from fedloom.shared.flower_process import hide_task_tokens
hide_task_tokens({"flwr-task": [sys.executable, "-c"]})
executor = importlib.import_module("flwr.supercore.superexec.executor.subprocess_executor")
code = (
    "import os, signal, sys, time; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
    "print(os.getpid(), os.getpgrp(), open(sys.argv[2]).read(), flush=True); time.sleep(60)"
)
executor.subprocess.Popen(["flwr-task", code, "--token", "a token"]).wait()
"""


@pytest.mark.skipif(shutil.which("setpriv") is None, reason="no setpriv")
@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_a_task_is_killed_with_who_started_it(tmp_path: Path, how: signal.Signals) -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", _PARENT], stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    assert parent.stdout is not None
    pid, group, handed = parent.stdout.readline().strip().split(maxsplit=2)
    assert handed == "a token"
    assert int(group) == int(pid), "a signal to the group of its parent does not reach it"
    # As a supervisor does it.
    os.killpg(parent.pid, how)
    parent.wait(10)
    end = time.monotonic() + 10
    while psutil.pid_exists(int(pid)) and time.monotonic() < end:
        time.sleep(0.05)
    assert not psutil.pid_exists(int(pid))
