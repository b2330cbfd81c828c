"""Aggregators by the name that a plan gives them."""

from collections.abc import Callable, Mapping
from types import MappingProxyType

from fedloom.server.aggregation.base import Aggregator
from fedloom.server.aggregation.fedit import FedIT
from fedloom.server.aggregation.ffa import FFALoRA

AGGREGATORS: Mapping[str, Callable[[], Aggregator]] = MappingProxyType(
    {"fedit": FedIT, "ffa-lora": FFALoRA}
)
