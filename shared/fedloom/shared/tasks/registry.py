"""Tasks by the name that a plan gives them."""

from collections.abc import Mapping
from types import MappingProxyType

from fedloom.shared.tasks.base import Task
from fedloom.shared.tasks.classification import Classification

TASKS: Mapping[str, Task] = MappingProxyType({"classification": Classification()})
