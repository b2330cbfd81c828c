"""The part of a model below everything that trains: for one record it gives the same at each step.

With adapters in the last layers only, most of a step would compute again what it computed the
last time. The forward pass is cut where the first trained layer begins: what arrives there can be
captured, kept, and replayed.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from fedloom.shared.errors import TrainingError

Forward = Callable[[], object]
# Where Opacus puts a model that it wraps; the states are the same with and without.
_WRAPPED = "_module."


class _Arrived(BaseException):
    """Ends a forward pass at the cut. No fault, so that nothing on the way handles it as one."""

    def __init__(self, hidden: torch.Tensor) -> None:
        super().__init__()
        self.hidden = hidden


@dataclass(frozen=True, kw_only=True)
class FrozenPrefix:
    """The cut: `first` is the first module that trains, `skipped` are the layers before it.

    What arrives at `first` has the shape (batch, length, width), or (batch, width) above a
    pooler. `place` names the cut: two models cut at one place have the same prefix.
    """

    first: nn.Module
    skipped: tuple[nn.Module, ...]
    place: str

    def capture(self, forward: Forward) -> torch.Tensor:
        """What arrives at the cut in `forward`, which is ended there.

        Raises:
            TrainingError: what arrives is no tensor.
        """

        def stop(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            raise _Arrived(_hidden_of(args, kwargs))

        handle = self.first.register_forward_pre_hook(stop, with_kwargs=True)
        try:
            with torch.no_grad():
                forward()
        except _Arrived as arrived:
            return arrived.hidden
        finally:
            handle.remove()
        raise TrainingError(f"layer {self.place}: not reached, expected it in every forward pass")

    @contextmanager
    def replaying(self, hidden: torch.Tensor) -> Iterator[None]:
        """Within the block, layers before the cut do nothing and `hidden` arrives at it."""

        def replace(
            _: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
        ) -> tuple[tuple[Any, ...], dict[str, Any]]:
            if args:
                return (hidden, *args[1:]), kwargs
            return args, {**kwargs, "hidden_states": hidden}

        with ExitStack() as undo:
            handle = self.first.register_forward_pre_hook(replace, with_kwargs=True)
            undo.callback(handle.remove)
            for layer in self.skipped:
                setattr(layer, "forward", _pass_on)  # noqa: B010
                undo.callback(delattr, layer, "forward")
            yield


def find_prefix(model: nn.Module, forward: Forward) -> FrozenPrefix | None:
    """Where `model` can be cut, seen from one run of `forward`; None if nothing would be saved.

    The layers are the model's one list of blocks that `forward` runs through; a model with
    several such lists (encoder and decoder) is not cut.
    """
    order = _calls(model, forward)
    lists = [
        module
        for module in model.modules()
        if isinstance(module, nn.ModuleList) and any(part in order for part in module)
    ]
    blocks = [
        found
        for found in lists
        if not any(found in set(other.modules()) - {other} for other in lists)
    ]
    if len(blocks) != 1:
        return None
    names = {module: name for name, module in model.named_modules()}
    skipped: list[nn.Module] = []
    for module in order:
        if blocks[0] in module.modules():
            continue
        if any(parameter.requires_grad for parameter in module.parameters()):
            first, place = module, names[module].removeprefix(_WRAPPED)
            return (
                FrozenPrefix(first=first, skipped=tuple(skipped), place=place) if skipped else None
            )
        if module in blocks[0]:
            skipped.append(module)
    return None


def _calls(model: nn.Module, forward: Forward) -> dict[nn.Module, None]:
    """The modules that `forward` calls, in order, each once."""
    order: dict[nn.Module, None] = {}

    def called(module: nn.Module, _: object) -> None:
        order.setdefault(module)

    with ExitStack() as undo:
        for module in model.modules():
            undo.callback(module.register_forward_pre_hook(called).remove)
        with torch.no_grad():
            forward()
    return order


def _pass_on(*args: Any, **kwargs: Any) -> torch.Tensor:
    return _hidden_of(args, kwargs)


def _hidden_of(args: tuple[Any, ...], kwargs: dict[str, Any]) -> torch.Tensor:
    hidden = args[0] if args else kwargs.get("hidden_states")
    if not isinstance(hidden, torch.Tensor):
        raise TrainingError("layer input: no tensor of hidden states, expected one")
    return hidden
