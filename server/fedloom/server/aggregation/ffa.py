"""FFA-LoRA (Sun et al. 2024): A stays at its shared random start, B is averaged."""

from fedloom.server.aggregation.mean import WeightedMean


class FFALoRA(WeightedMean):
    """Mean of B and of the head, A frozen.

    Exact: mean(B) A is the mean of the B_k A. Sites send about half as much, and no product of
    two noised matrices arises, which makes it the default under differential privacy.
    """
