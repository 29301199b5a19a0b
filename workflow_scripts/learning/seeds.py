"""Derived seeds, in a module of their own so that changes of the training loop do not rerun `synthesize`."""

import numpy as np


def derived_seed(*numbers: int) -> int:
    """One seed from several non-negative integers; similar integers give unrelated random numbers."""
    return int(np.random.SeedSequence(numbers).generate_state(1)[0])
