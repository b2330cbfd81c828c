"""No byte of a release can change, and no file come or go, without `verify` finding it."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedloom.server.release.folder import write_release
from fedloom.server.release.verify import verify_release
from fedloom.shared.keys import SigningKey
from tests.support.released import VALIDATION, a_finished_run, an_evaluation

KEY = SigningKey.generate()


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """A release as files by name."""
    home = tmp_path_factory.mktemp("original")
    run = a_finished_run(home / "run", evaluation=an_evaluation(VALIDATION))
    folder = write_release(run, KEY).folder
    assert verify_release(folder, coordinator=KEY.public).problems == ()
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@contextmanager
def unpacked(files: dict[str, bytes]) -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as home:
        for name, content in files.items():
            (Path(home) / name).write_bytes(content)
        yield Path(home)


def is_found(files: dict[str, bytes]) -> bool:
    """Whether both are: with the coordinator's key at hand, and with the folder's word alone."""
    with unpacked(files) as folder:
        verdicts = [verify_release(folder, coordinator=key) for key in (KEY.public, None)]
    lines = [line for verdict in verdicts for line in verdict.problems]
    assert all("\n" not in line and line.isprintable() for line in lines)
    return all(verdict.problems and verdict.decision is None for verdict in verdicts)


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_any_flipped_byte_is_found(original: dict[str, bytes], data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(sorted(original)))
    content = bytearray(original[name])
    at = data.draw(st.integers(0, len(content) - 1))
    content[at] ^= data.draw(st.integers(1, 255))
    assert is_found(original | {name: bytes(content)})


@pytest.mark.parametrize("name", ["SHA256SUMS", "SHA256SUMS.sig", "decision.json.sig"])
def test_every_byte_of_what_vouches_for_the_rest_counts(
    original: dict[str, bytes], name: str
) -> None:
    """A signature that stands in two forms would let a folder be another and still verify."""
    for at in range(len(original[name])):
        content = bytearray(original[name])
        content[at] ^= 0x20
        assert is_found(original | {name: bytes(content)}), at


@settings(max_examples=50, deadline=None)
@given(data=st.data())
def test_any_file_that_goes_or_is_cut_is_found(
    original: dict[str, bytes], data: st.DataObject
) -> None:
    name = data.draw(st.sampled_from(sorted(original)))
    rest = {key: content for key, content in original.items() if key != name}
    assert is_found(rest)
    length = data.draw(st.integers(0, len(original[name]) - 1))
    assert is_found(rest | {name: original[name][:length]})


NAMES = st.text(
    st.characters(codec="utf-8", exclude_characters="/\x00"), min_size=1, max_size=40
).filter(lambda name: name not in (".", ".."))


@settings(max_examples=75, deadline=None)
@given(name=NAMES, content=st.binary(max_size=64))
def test_any_file_that_comes_is_found(
    original: dict[str, bytes], name: str, content: bytes
) -> None:
    if name not in original:
        assert is_found(original | {name: content})


@settings(max_examples=50, deadline=None)
@given(data=st.data())
def test_two_files_that_change_places_are_found(
    original: dict[str, bytes], data: st.DataObject
) -> None:
    one, other = data.draw(st.lists(st.sampled_from(sorted(original)), min_size=2, max_size=2))
    if original[one] != original[other]:
        assert is_found(original | {one: original[other], other: original[one]})
