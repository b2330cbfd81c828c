"""Momentum at the server, around any aggregator."""

import numpy as np

from fedloom.shared.adapter import Adapter, AdapterLayout


def with_momentum(
    woven: Adapter, *, trained: AdapterLayout, current: Adapter, previous: Adapter, momentum: float
) -> Adapter:
    """FedAvgM (Hsu et al. 2019): `woven` plus `momentum` times the last round's whole movement.

    `woven` is what an aggregator made of `current`, and `previous` is the adapter before it. With
    v_t = momentum v_{t-1} + delta_t and x_t = x_{t-1} + v_t, the velocity v_{t-1} is
    x_{t-1} - x_{t-2}: two adapters are the whole state. A tensor that did not train has none.
    """
    if not momentum:
        return woven
    velocity = current.select(trained).astype(np.float64) - previous.select(trained)
    return woven.plus(trained, momentum * velocity)
