"""supervisord is told exactly what to run, whatever a folder is called."""

import os
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from supervisor.options import ServerOptions

from fedloom.shared import foreground, supervising
from fedloom.shared.errors import DeployError
from fedloom.shared.foreground import become_supervisor, write_supervisor
from fedloom.shared.supervising import Process, own_module, own_program, supervisord_config

# What supervisor, configparser and shlex each treat in a way of their own, and all the rest.
AWKWARD = st.text(
    st.sampled_from("ab \"'\\%$;#,=(){}:~é") | st.characters(min_codepoint=32), max_size=12
)
CLEAN = AWKWARD.filter(lambda text: text.isprintable())


def as_supervisor_reads(processes: list[Process], folder: Path) -> ServerOptions:
    """What supervisord itself makes of the settings in `folder`."""
    (folder / "logs").mkdir()
    path = write_supervisor(processes, folder=folder, logs=folder / "logs")
    options = ServerOptions()
    options.here = str(folder)
    options.read_config(str(path))
    return options


def programs(options: ServerOptions) -> dict[str, SimpleNamespace]:
    groups = options.configroot.supervisord.process_group_configs
    return {one.name: one for group in groups for one in group.process_configs}


def split(command: str) -> tuple[dict[str, str], list[str]]:
    """Environment and argv, as supervisor and then `env` take them apart."""
    words = shlex.split(command)
    words = words[words.index("--") + 1 :] if "--pdeathsig" in words else words
    assert words.pop(0).endswith("/env")
    values = {}
    while "=" in words[0]:
        name, _, value = words.pop(0).partition("=")
        values[name] = value
    return values, words


@given(words=st.lists(CLEAN, max_size=3), value=CLEAN)
@settings(max_examples=60, deadline=None)
def test_commands_and_environments_arrive_as_they_are(words: list[str], value: str) -> None:
    with tempfile.TemporaryDirectory() as name:
        process = Process(name="one", command=["/bin/x", *words], environment={"HERE": value})
        found = programs(as_supervisor_reads([process], Path(name)))["one"]
    values, command = split(found.command)
    assert command == ["/bin/x", *words]
    assert values == dict(process.whole_environment)


@pytest.mark.parametrize("name", ["a b", "site #1", "50 % ;x", "it's", 'a"b', "a,b", "%(here)s"])
def test_logs_and_socket_lie_in_a_folder_of_any_name(tmp_path: Path, name: str) -> None:
    folder = tmp_path / name
    folder.mkdir()
    options = as_supervisor_reads([Process(name="one", command=["/bin/true"])], folder)
    section = options.configroot.supervisord
    assert section.logfile == str(folder / "logs" / "supervisor.log")
    assert section.pidfile == str(folder / "supervisor.pid")
    assert section.server_configs[0]["file"] == str(folder / "supervisor.sock")
    found = programs(options)["one"]
    assert found.stdout_logfile == str(folder / "logs" / "one.log")
    assert section.nodaemon and section.umask == 0o077


def test_a_process_is_run_with_that_command_and_environment(tmp_path: Path) -> None:
    """The same once more, by running it: no parser of ours is between."""
    show = "import os, sys; print(repr((sys.argv[1:], os.environ['HERE'])))"
    process = Process(
        name="one",
        command=[sys.executable, "-c", show, "a #b", '"c"', "100 %"],
        environment={"HERE": 'x "y" ;z\\'},
    )
    found = programs(as_supervisor_reads([process], tmp_path))["one"]
    done = subprocess.run(
        shlex.split(found.command), capture_output=True, text=True, check=True, env={}
    )
    assert done.stdout.strip() == repr((["a #b", '"c"', "100 %"], 'x "y" ;z\\'))


def test_whatever_dies_is_started_again_and_ended_with_its_children(tmp_path: Path) -> None:
    found = programs(as_supervisor_reads([Process(name="one", command=["/bin/x"])], tmp_path))
    one = found["one"]
    assert one.autostart and one.stopasgroup and one.killasgroup and one.redirect_stderr
    assert one.autorestart.__name__ == "RestartUnconditionally"
    assert one.startretries >= 1_000_000
    # Longer than Flower's server takes to end, else it is killed in the middle of a write.
    assert one.stopwaitsecs >= 20


@pytest.mark.parametrize("text", ["a\nuser=root", "a\r", "a\0b", "\x1b[2J"])
def test_a_line_break_cannot_add_a_setting(tmp_path: Path, text: str) -> None:
    process = Process(name="one", command=["/bin/x", text])
    with pytest.raises(DeployError, match="control character"):
        supervisord_config([process], folder=tmp_path, logs=tmp_path / "logs")
    process = Process(name="one", command=["/bin/x"], environment={"A": text})
    with pytest.raises(DeployError, match="control character"):
        supervisord_config([process], folder=tmp_path, logs=tmp_path / "logs")


def test_processes_call_nobody_and_reach_loopback_without_a_proxy(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("no_proxy", "hospital.example")
    values = Process(name="one", command=["/bin/x"]).whole_environment
    assert values["FLWR_TELEMETRY_ENABLED"] == "0"
    assert values["HF_HUB_OFFLINE"] == "1"
    assert values["FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION"] == "1"
    assert values["no_proxy"] == values["NO_PROXY"] == "hospital.example,127.0.0.1,localhost,::1"
    monkeypatch.delenv("no_proxy")
    monkeypatch.delenv("NO_PROXY", raising=False)
    assert Process(name="one", command=["/bin/x"]).whole_environment["NO_PROXY"].startswith("127.")


def test_settings_are_the_owners_alone(tmp_path: Path) -> None:
    path = write_supervisor([], folder=tmp_path, logs=tmp_path / "logs")
    assert path.stat().st_mode & 0o777 == 0o600


def test_no_code_is_taken_from_the_working_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder named `supervisor` where a person stands would else run in its place."""
    (tmp_path / "supervisor").mkdir()
    (tmp_path / "supervisor" / "__init__.py").write_text("")
    (tmp_path / "supervisor" / "supervisord.py").write_text("print('taken')")
    ran: list[list[str]] = []
    monkeypatch.setattr(foreground.os, "execv", lambda _, command: ran.append(command))
    become_supervisor(tmp_path / "none.conf")
    done = subprocess.run(ran[0], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert "taken" not in done.stdout
    assert "none.conf" in done.stdout + done.stderr
    assert "-P" in own_module("fedloom.cli")
    assert own_program("fedloom") == f"{os.path.dirname(sys.executable)}/fedloom"  # noqa: PTH120


def test_without_setpriv_the_command_is_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervising.shutil, "which", lambda _: None)
    found = programs(as_supervisor_reads([Process(name="one", command=["/bin/x"])], tmp_path))
    assert split(found["one"].command)[1] == ["/bin/x"]
