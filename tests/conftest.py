"""Fixtures that several kinds of test share."""

from pathlib import Path

import pytest
import torch

from fedloom.simulation.grid import become_server
from tests.support.tiny import write_tiny_model


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a tiny random BERT."""
    return write_tiny_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(autouse=True, scope="session")
def _server_identity() -> None:
    """Flower refuses to build messages in a process that has no task identity."""
    become_server()


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> None:
    """Tiny models are faster on one thread, and sums come out the same everywhere."""
    torch.set_num_threads(1)
