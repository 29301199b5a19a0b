"""Seeds that follow from other numbers; not in the training loop, whose changes must not synthesize again."""

import numpy as np


def derived_seed(*numbers: int) -> int:
    """One seed from several non-negative integers, well mixed: neighbours give unrelated streams."""
    return int(np.random.SeedSequence(numbers).generate_state(1)[0])
