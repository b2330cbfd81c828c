"""Who may come: exactly the sites that have a kit, and one that Flower refuses stops no other."""

import logging
from pathlib import Path

import pytest

from fedloom.server.deploy.home import ServerHome
from fedloom.server.deploy.keeper import Keeper
from fedloom.server.deploy.nodes import Nodes
from fedloom.shared.errors import CredentialError, DeployError
from fedloom.shared.kits.document import PartyKeys
from tests.support.flower_server import FlowerServer, node_of, some_keys, want

NORTH, SOUTH, STRANGER = some_keys(), some_keys(), some_keys()


def a_home(path: Path, sites: dict[str, PartyKeys]) -> ServerHome:
    home = ServerHome(path)
    home.write_sites(sites)
    return home


def let_in(flower: FlowerServer) -> dict[str, bytes]:
    return {name: key for name, key in flower.registered.values()}


def test_missing_nodes_are_let_in_once(tmp_path: Path) -> None:
    flower = FlowerServer()
    nodes = Nodes(a_home(tmp_path, {"north": NORTH, "south": SOUTH}), flower)
    for _ in range(3):
        nodes.tend()
    assert let_in(flower) == {"north": node_of(NORTH), "south": node_of(SOUTH)}
    assert flower.calls.count("register") == 2


def test_removed_sites_and_strangers_are_let_out(tmp_path: Path) -> None:
    home, flower = a_home(tmp_path, {"north": NORTH, "south": SOUTH}), FlowerServer()
    nodes = Nodes(home, flower)
    nodes.tend()
    flower.registered[99] = ("x", node_of(STRANGER))
    home.write_sites({"north": NORTH})
    nodes.tend()
    assert let_in(flower) == {"north": node_of(NORTH)}


def test_a_site_with_new_keys_changes_places_with_its_old_ones(tmp_path: Path) -> None:
    home, flower = a_home(tmp_path, {"north": NORTH}), FlowerServer()
    nodes = Nodes(home, flower)
    nodes.tend()
    home.write_sites({"north": SOUTH})
    nodes.tend()
    assert let_in(flower) == {"north": node_of(SOUTH)}


def test_a_server_that_forgot_all_nodes_is_told_them_again(tmp_path: Path) -> None:
    home, flower = a_home(tmp_path, {"north": NORTH}), FlowerServer()
    nodes = Nodes(home, flower)
    nodes.tend()
    flower.registered.clear()
    flower.once_known.clear()
    nodes.tend()
    assert let_in(flower) == {"north": node_of(NORTH)}


def test_a_node_that_flower_refuses_keeps_neither_sites_nor_runs_waiting(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    home = a_home(tmp_path, {"north": NORTH, "south": SOUTH})
    flower = FlowerServer(once_known={node_of(NORTH)})
    want(home, "one")
    keeper = Keeper(home, flower, "app")
    with caplog.at_level(logging.ERROR, "fedloom.keeper"):
        for _ in range(3):
            keeper.tend()
    assert let_in(flower) == {"south": node_of(SOUTH)}
    assert flower.at_work == ["one"]
    told = [record for record in caplog.records if "not let in" in record.getMessage()]
    assert len(told) == 1, "once, not each second"


def test_without_the_sites_keys_nobody_is_let_out(tmp_path: Path) -> None:
    home, flower = a_home(tmp_path, {"north": NORTH}), FlowerServer()
    nodes = Nodes(home, flower)
    nodes.tend()
    home.sites_file.write_text("{")
    with pytest.raises(CredentialError, match="damaged"):
        nodes.tend()
    assert let_in(flower) == {"north": node_of(NORTH)}
    home.write_sites({"north": NORTH})
    flower.away = True
    with pytest.raises(DeployError):
        nodes.tend()
