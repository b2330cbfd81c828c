"""What to say of texts that are longer than what a model reads."""

import numpy as np
from numpy.typing import NDArray


def about_cut(cut: NDArray[np.bool_], what: str) -> tuple[str, ...]:
    """The caveat about n things that are called so, of which any text was `cut`, shape (n, texts);
    none if none was."""
    if not cut.any():
        return ()
    number = np.count_nonzero(cut.any(axis=1))
    return (
        f"{number} of {len(cut)} {what} are longer than the model can read: it saw only a part of "
        "each.",
    )
