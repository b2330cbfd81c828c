"""FedIT (Zhang et al. 2023): A and B are averaged apart."""

from fedloom.server.aggregation.mean import WeightedMean


class FedIT(WeightedMean):
    """Mean of A, mean of B, mean of the head.

    The product of the means is not the mean of the products: it misses
    sum_k p_k B_k A_k - mean(B) mean(A), which grows as sites drift apart, and under
    differential privacy it multiplies noise by noise.
    """
