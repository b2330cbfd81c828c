"""Opacus' PRV accountant with a quicker choice of its grid; the composition itself is Opacus'."""

import math
from collections.abc import Sequence

from opacus.accountants import PRVAccountant, RDPAccountant
from opacus.accountants.analysis.prv import Domain, PoissonSubsampledGaussianPRV

# Opacus' own orders hold a hundred fractional ones, each a slow series. Every order gives a valid
# bound, so that fewer of them can only overstate.
_WHOLE_ORDERS = (*range(2, 64), 80, 96, 128, 256, 512)
# Noise multiplier, sample rate, steps.
_Charge = tuple[float, float, int]


class QuickPRVAccountant(PRVAccountant):  # type: ignore[misc]
    """Privacy loss random variables on a grid whose extent follows from a few Renyi orders.

    Guarantee: that of Opacus' accountant. The extent is the one of remark 5.6 in Gopi, Lee and
    Wutschitz (2021), with Renyi bounds over whole orders alone; fewer orders give larger
    bounds, hence a wider grid. Where that bound is beyond `try_all_above`, all orders are taken.
    """

    def __init__(self, *, try_all_above: float) -> None:
        super().__init__()
        self._try_all_above = try_all_above

    def renyi_epsilon(self, history: Sequence[_Charge], delta: float) -> float:
        """The looser epsilon by Renyi divergence (Mironov, Talwar, Zhang 2019)."""
        accountant = RDPAccountant()
        accountant.history = list(history)
        quick = float(accountant.get_epsilon(delta, alphas=list(_WHOLE_ORDERS)))
        return quick if quick <= self._try_all_above else float(accountant.get_epsilon(delta))

    def _get_domain(
        self,
        prvs: Sequence[PoissonSubsampledGaussianPRV],
        num_self_compositions: Sequence[int],
        eps_error: float,
        delta_error: float,
    ) -> Domain:
        total = sum(num_self_compositions)
        singles = [(prv.noise_multiplier, prv.sample_rate, 1) for prv in prvs]
        bounds = [self.renyi_epsilon([one], delta_error / (8 * total)) for one in singles]
        whole = self.renyi_epsilon(self.history, delta_error / 4)
        extent = max(whole, *bounds, eps_error) + 3
        mesh = eps_error / math.sqrt(total * math.log(12 / delta_error) / 2)
        return Domain.create_aligned(-extent, extent, mesh)
