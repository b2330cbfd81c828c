"""Units for systemd: each process exactly as it is, hardened, and with no more than it needs."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedloom.shared.errors import DeployError
from fedloom.shared.supervising import Process
from fedloom.shared.units import unit, unit_name, write_units

TRUE = str(Path("/bin/true").resolve())
AWKWARD = st.text(st.sampled_from("ab \"'\\%$;#,=(){}é") | st.characters(min_codepoint=33)).filter(
    str.isprintable
)


def words(line: str, *, variables: bool) -> list[str]:
    """systemd.service(5), "Command lines", for parts that are all in double quotes."""
    found = []
    for number, raw in enumerate(re.findall(r'"((?:[^"\\]|\\.)*)"(?: |$)', line)):
        assert not re.search(r"(?<!%)(?:%%)*%(?!%)", raw), "a specifier"
        text = re.sub(r"\\(.)", r"\1", raw.replace("%%", "%"))
        if variables and number:
            assert not re.search(r"(?<!\$)(?:\$\$)*\$(?!\$)", text), "a variable"
            text = text.replace("$$", "$")
        found.append(text)
    return found


def values(text: str, key: str) -> list[str]:
    return [line.partition("=")[2] for line in text.splitlines() if line.startswith(f"{key}=")]


@given(parts=st.lists(AWKWARD, max_size=3), value=AWKWARD, folder=AWKWARD)
def test_what_systemd_reads_is_what_was_meant(parts: list[str], value: str, folder: str) -> None:
    process = Process(
        name="one", command=["/x/a$b%c", *parts], environment={"A": value},
        writes=[Path("/w") / folder], hidden=[Path("/h") / folder],
    )  # fmt: skip
    text = unit(process, party="server")
    (command,) = values(text, "ExecStart")
    assert words(command, variables=True) == ["/x/a$b%c", *parts]
    found = [words(line, variables=False)[0] for line in values(text, "Environment")]
    assert dict(one.split("=", 1) for one in found) == dict(process.whole_environment)
    assert words(values(text, "ReadWritePaths")[0], variables=False) == [f"-{process.writes[0]}"]
    assert words(values(text, "InaccessiblePaths")[0], variables=False) == [f"-{process.hidden[0]}"]


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd here")
def test_systemd_itself_finds_nothing_wrong(tmp_path: Path) -> None:
    """It also says whether it finds the program, which is read otherwise than the rest."""
    programs = tmp_path / "a $HOME %h é;#"
    programs.mkdir()
    shutil.copy(TRUE, programs / "true")
    process = Process(
        name="one", command=[str(programs / "true"), "$HOME", "%h", '"', "\\", ";", "#"],
        environment={"A": '$HOME %h " \\'}, writes=[programs], hidden=[programs], user="root",
    )  # fmt: skip
    other = Process(name="two", command=[TRUE], user="root", loopback=True)
    paths = list(write_units([process, other], tmp_path / "units", party="server"))
    done = subprocess.run(
        ["/usr/bin/systemd-analyze", "verify", *map(str, paths)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert not done.stderr, done.stderr


def test_all_of_a_party_is_one_thing_to_start(tmp_path: Path) -> None:
    two = [Process(name=name, command=[TRUE]) for name in ("one", "two")]
    *units, target = write_units(two, tmp_path, party="site")
    names = [unit_name(process, party="site") for process in two]
    assert [path.name for path in units] == names
    assert values(target.read_text(), "Wants") == [" ".join(names)]
    for path in units:
        text = path.read_text()
        assert values(text, "PartOf") == values(text, "WantedBy") == [target.name]
        # Whatever dies comes back, however often.
        assert values(text, "Restart") == ["always"]
        assert values(text, "StartLimitIntervalSec") == ["0"]


def test_a_process_has_no_rights_but_to_compute_and_speak() -> None:
    text = unit(Process(name="one", command=[TRUE], user="fedloom-node"), party="site")
    for line in (
        "User=fedloom-node", "Group=fedloom-node", "NoNewPrivileges=yes", "ProtectSystem=strict",
        "CapabilityBoundingSet=", "PrivateDevices=yes", "PrivateTmp=yes", "UMask=0077",
        "PrivateUsers=yes",
        "RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6", "SystemCallFilter=@system-service",
    ):  # fmt: skip
        assert line in text.splitlines()
    assert not values(text, "ReadWritePaths")
    on_a_gpu = unit(Process(name="one", command=[TRUE], devices=True), party="site")
    assert values(on_a_gpu, "PrivateDevices") == ["no"]


def test_who_needs_no_other_machine_reaches_none() -> None:
    text = unit(Process(name="one", command=[TRUE], loopback=True), party="site")
    assert values(text, "IPAddressDeny") == ["any"]
    assert values(text, "IPAddressAllow") == ["localhost"]
    assert not values(unit(Process(name="one", command=[TRUE]), party="site"), "IPAddressDeny")


@pytest.mark.parametrize("text", ["a\nUser=root", "a\rb", "\0"])
def test_a_line_break_adds_no_setting(text: str) -> None:
    for process in (
        Process(name="one", command=[TRUE, text]),
        Process(name="one", command=[TRUE], environment={"A": text}),
        Process(name="one", command=[TRUE], writes=[Path(text)]),
    ):
        with pytest.raises(DeployError, match="control character"):
            unit(process, party="site")
