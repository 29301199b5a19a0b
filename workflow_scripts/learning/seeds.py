"""Seeds derived from other numbers; apart from the training loop, so that its changes do not rerun `synthesize`."""

import numpy as np


def derived_seed(*numbers: int) -> int:
    """One seed from several non-negative integers, well mixed: neighbours give unrelated streams."""
    return int(np.random.SeedSequence(numbers).generate_state(1)[0])
