"""The adapter as it travels: one flat fp32 array and the manifest that says what lies where."""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import prod

import numpy as np
from numpy.typing import NDArray

from fedloom.shared.errors import WireError


@dataclass(frozen=True, kw_only=True)
class TensorSpec:
    """Name and shape of one tensor of an adapter."""

    name: str
    shape: tuple[int, ...]

    @property
    def size(self) -> int:
        """Number of elements."""
        return prod(self.shape)


@dataclass(frozen=True)
class AdapterLayout:
    """Order, names and shapes of the tensors that one flat array holds."""

    tensors: tuple[TensorSpec, ...]

    @classmethod
    def of(cls, state: Mapping[str, NDArray[np.float32]]) -> "AdapterLayout":
        """Layout of `state`, tensors sorted by name so that every party agrees on it."""
        specs = (TensorSpec(name=name, shape=tuple(state[name].shape)) for name in sorted(state))
        return cls(tuple(specs))

    @cached_property
    def size(self) -> int:
        """Number of elements of the flat array."""
        return sum(spec.size for spec in self.tensors)

    @property
    def nbytes(self) -> int:
        """Bytes of the flat fp32 array."""
        return 4 * self.size

    @property
    def names(self) -> frozenset[str]:
        """Names of all tensors."""
        return frozenset(spec.name for spec in self.tensors)

    @cached_property
    def sha256(self) -> str:
        """Hex digest of the manifest: equal digests mean equal layouts."""
        manifest = [[spec.name, list(spec.shape)] for spec in self.tensors]
        return hashlib.sha256(json.dumps(manifest).encode()).hexdigest()

    def select(self, names: Sequence[str] | frozenset[str]) -> "AdapterLayout":
        """The part of this layout whose names are given, in the same order."""
        return AdapterLayout(tuple(spec for spec in self.tensors if spec.name in names))

    def slices(self) -> Iterator[tuple[TensorSpec, slice]]:
        """Each tensor with the slice of the flat array that holds it."""
        start = 0
        for spec in self.tensors:
            yield spec, slice(start, start + spec.size)
            start += spec.size


@dataclass(frozen=True, kw_only=True)
class Adapter:
    """Values of all tensors of a layout, flat, fp32, length `layout.size`."""

    layout: AdapterLayout
    flat: NDArray[np.float32]

    def __post_init__(self) -> None:
        if self.flat.dtype != np.float32 or self.flat.shape != (self.layout.size,):
            raise WireError(
                f"adapter: array of {self.flat.dtype} {self.flat.shape}, "
                f"expected float32 ({self.layout.size},)"
            )

    @classmethod
    def from_state(cls, state: Mapping[str, NDArray[np.float32]]) -> "Adapter":
        """Pack named tensors; every value is copied as fp32."""
        layout = AdapterLayout.of(state)
        parts = [state[spec.name].astype(np.float32).ravel() for spec in layout.tensors]
        return cls(layout=layout, flat=np.concatenate(parts) if parts else np.zeros(0, np.float32))

    def state(self) -> dict[str, NDArray[np.float32]]:
        """The tensors by name; views of the flat array."""
        return {spec.name: self.flat[at].reshape(spec.shape) for spec, at in self.layout.slices()}

    def select(self, part: AdapterLayout) -> NDArray[np.float32]:
        """Flat copy of the tensors that `part` names."""
        state = self.state()
        return np.concatenate(
            [np.zeros(0, np.float32), *(state[spec.name].ravel() for spec in part.tensors)]
        )

    def plus(self, part: AdapterLayout, delta: NDArray[np.float64]) -> "Adapter":
        """A new adapter with `delta` (flat over `part`) added; other tensors unchanged."""
        state = {name: values.copy() for name, values in self.state().items()}
        for spec, at in part.slices():
            total = state[spec.name].astype(np.float64) + delta[at].reshape(spec.shape)
            state[spec.name] = total.astype(np.float32)
        return Adapter.from_state(state)

    @property
    def sha256(self) -> str:
        """Hex digest of layout and values."""
        values = np.ascontiguousarray(self.flat, dtype="<f4").tobytes()
        return hashlib.sha256(self.layout.sha256.encode() + values).hexdigest()
