"""Who runs is told by a lock, which another party's answer on a port cannot feign."""

import subprocess
import sys
import threading
from pathlib import Path

import pytest

from fedloom.server.deploy.keep import keep
from fedloom.shared.errors import DeployError
from fedloom.shared.locks import hold, is_locked
from tests.support.kits import provisioned


def test_a_lock_ends_with_its_process(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    assert not is_locked(path) and not path.exists()
    code = (
        "import sys, pathlib; from fedloom.shared.locks import hold;"
        "print(hold(pathlib.Path(sys.argv[1])), flush=True); input()"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", code, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert holder.stdout is not None and holder.stdout.readline() == b"True\n"
    assert is_locked(path) and not hold(path)
    holder.kill()
    holder.wait()
    assert not is_locked(path) and hold(path)


def test_a_second_keeper_of_one_folder_is_refused(tmp_path: Path) -> None:
    home = provisioned(tmp_path / "kits").home
    assert not home.is_up
    assert hold(home.keeper_lock)
    assert home.is_up
    with pytest.raises(DeployError, match="another keeper tends it"):
        keep(home, threading.Event())
