"""Kits and requests: whatever is altered, garbage or another's is refused in one line."""

import json
import stat
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fedloom.shared.errors import CredentialError
from fedloom.shared.keys import SigningKey
from fedloom.shared.kits import document
from fedloom.shared.kits.document import PartyKeys, SignedKit, SiteRequest, read_document
from fedloom.shared.kits.node_key import NodeKey, is_signed_by_node, read_node_key
from fedloom.shared.kits.sealing import seal
from fedloom.shared.kits.trusted import openssh_key
from tests.support.kits import a_kit, own_request, quick

__all__ = ["quick"]
KEY, OTHER = SigningKey.generate(), SigningKey.generate()
LINK, NODE, REQUEST = own_request()
_, OTHER_NODE, OTHER_REQUEST = own_request("south")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "document"


def refused(path: Path, kind: Any, content: str | bytes) -> str:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(CredentialError) as caught:
        read_document(path, kind, expected="a kit")
    return str(caught.value)


def a_sealed_kit() -> SignedKit:
    kit = a_kit(KEY)
    sealed = seal(b"private keys", "passphrase", bound=kit.bound)
    return SignedKit.by(kit.model_copy(update={"sealed": sealed}), KEY)


def leaves(tree: Any, at: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    if not isinstance(tree, dict):
        return [at]
    return [leaf for key, value in tree.items() for leaf in leaves(value, (*at, key))]


def changed(tree: Any, at: tuple[str, ...], value: object) -> Any:
    if not at:
        return value
    return {**tree, at[0]: changed(tree[at[0]], at[1:], value)}


def valid_but_other(text: object) -> object:
    """Another value of the same form: the last letter that may differ, changed."""
    assert isinstance(text, str)
    return {"1": "2", "a": "b", "A": "B"}.get(text[-1], "a" if text[-1].isalpha() else "1")


@pytest.mark.usefixtures("quick")
def test_each_field_of_a_kit_is_under_its_signature(path: Path) -> None:
    signed = a_sealed_kit()
    tree = json.loads(signed.model_dump_json())
    path.write_text(signed.model_dump_json())
    assert read_document(path, SignedKit, expected="a kit") == signed
    assert len(leaves(tree)) == 13
    for at in leaves(tree):
        value: Any = tree
        for key in at:
            value = value[key]
        for other in (f"{value}"[:-1] + str(valid_but_other(str(value))), None, 7, ""):
            refused(path, SignedKit, json.dumps(changed(tree, at, other)))
    # Taking the private keys away is an alteration too.
    assert "signature" in refused(
        path, SignedKit, json.dumps(changed(tree, ("kit", "sealed"), None))
    )


def test_a_kit_is_signed_by_the_coordinator_that_it_names() -> None:
    kit = a_kit(KEY)
    assert SignedKit.by(kit, KEY).is_whole
    assert not SignedKit.by(kit, OTHER).is_whole
    moved = SignedKit(kit=kit, signature=SignedKit.by(a_kit(KEY, site="south"), KEY).signature)
    assert not moved.is_whole


def test_a_request_is_signed_with_both_keys_and_for_its_name() -> None:
    assert REQUEST.is_whole
    mixed = PartyKeys(link=REQUEST.keys.link, node=OTHER_REQUEST.keys.node)
    for changes in (
        {"site": "south"},
        {"link_signature": OTHER_REQUEST.link_signature},
        {"node_signature": OTHER_REQUEST.node_signature},
        # Another's key under an own name: it has no signature by that key.
        {"keys": mixed},
        {"keys": mixed, "node_signature": OTHER_REQUEST.node_signature},
        {"keys": OTHER_REQUEST.keys},
    ):
        assert not REQUEST.model_copy(update=changes).is_whole, changes


def test_there_is_nothing_private_in_a_request() -> None:
    content = REQUEST.model_dump_json()
    numbers = NODE._private.private_numbers().private_value
    raw = LINK._private.private_bytes_raw()
    for secret in (raw.hex(), f"{numbers:x}", "PRIVATE"):
        assert secret not in content


@pytest.mark.parametrize("kind", [SignedKit, SiteRequest])
@pytest.mark.parametrize(
    "content",
    ["", "{}", "[]", "null", "{", "\xff", '{"kit": 7}', "[" * 5000, '{"kit": {}, "x": 1}', "1e999"],
)
def test_garbage_is_refused_in_one_line(path: Path, kind: Any, content: str) -> None:
    told = refused(path, kind, content.encode("latin-1"))
    assert told.startswith(f"{path}: not a kit")
    assert len(told.splitlines()) == 1


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    at=st.sampled_from(leaves(json.loads(REQUEST.model_dump_json()))),
    value=st.one_of(
        st.none(), st.integers(), st.text(max_size=20), st.lists(st.integers(), max_size=2),
        st.binary(min_size=60, max_size=200).map(bytes.hex),
        st.text("AZaz09+/=", min_size=100, max_size=200).map(lambda t: f"ecdsa-sha2-nistp384 {t}"),
    ),
)  # fmt: skip
def test_nothing_that_a_stranger_sends_raises_anything_else(
    path: Path, at: tuple[str, ...], value: object
) -> None:
    refused(
        path, SiteRequest, json.dumps(changed(json.loads(REQUEST.model_dump_json()), at, value))
    )


def test_unknown_fields_sizes_and_missing_files_are_told(path: Path) -> None:
    tree = json.loads(REQUEST.model_dump_json())
    assert "unknown key" in refused(path, SiteRequest, json.dumps({**tree, "more": 1}))
    more = changed(tree, ("keys", "link"), tree["keys"]["link"])
    more["keys"]["sealed"] = "x"
    assert "keys.sealed: unknown key" in refused(path, SiteRequest, json.dumps(more))
    spaces = " " * document._MOST_BYTES
    assert "above" in refused(path, SiteRequest, json.dumps(tree) + spaces)
    with pytest.raises(CredentialError, match="no such file"):
        read_document(path.with_name("none"), SiteRequest, expected="a request")
    with pytest.raises(CredentialError, match="no such file"):
        read_document(path.parent, SiteRequest, expected="a request")
    assert "not a kit" in refused(path, SignedKit, json.dumps(tree)), "a request is none"


@pytest.mark.parametrize("name", ["../x", "a/b", "a\n", "", "-a", "a" * 65, "a.b", "é"])
def test_a_name_is_never_a_path(name: str) -> None:
    """Kits are written to files of that name."""
    with pytest.raises(ValueError):
        SiteRequest.by(name, LINK, NODE)
    with pytest.raises(ValueError):
        a_kit(KEY, site=name)


@pytest.mark.parametrize(
    "server",
    ["x", "x:", "x:1;y", "a b:1", "[::1]", "::1:9443", "-x:1", "x:1\n", "x:123456", "/x:1"],
)
def test_a_servers_address_is_an_address(server: str) -> None:
    """It is an argument of Flower's node."""
    with pytest.raises(ValueError):
        a_kit(KEY, server=server)
    assert a_kit(KEY, server="[2001:db8::1]:9443").server


def test_a_nodes_key_is_a_p384_key_of_the_owners_alone(tmp_path: Path) -> None:
    path = tmp_path / "node.key"
    path.write_bytes(NODE.to_openssh())
    path.chmod(stat.S_IRUSR | stat.S_IRGRP)
    with pytest.raises(CredentialError, match="expected 600"):
        read_node_key(path)
    path.chmod(0o600)
    assert read_node_key(path).public == NODE.public
    for content in (LINK.to_pem(), b"", b"-----BEGIN OPENSSH PRIVATE KEY-----\n"):
        with pytest.raises(CredentialError, match=r"node's key|P-384"):
            NodeKey.from_openssh(content, source="kit")
    digest = "ab" * 32
    assert is_signed_by_node(digest, NODE.sign(digest), NODE.public)
    for signature, public in (
        (OTHER_NODE.sign(digest), NODE.public), (NODE.sign("cd" * 32), NODE.public),
        ("zz", NODE.public), ("abc", NODE.public), (NODE.sign(digest), openssh_key(KEY.public)),
        (NODE.sign(digest), "ecdsa-sha2-nistp384 AAAA"),
    ):  # fmt: skip
        assert not is_signed_by_node(digest, signature, public)
