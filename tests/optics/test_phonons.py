import math

import pytest
import torch

from workflow_scripts.optics.phonons import displaced
from workflow_scripts.optics.potential import projected_slices


def test_the_mean_of_snapshots_is_the_smeared_potential():
    """⟨exp(2πi q·u)⟩ = exp(−B q² / 4), at the frequencies of a small cell."""
    generator = torch.Generator().manual_seed(0)
    atom = torch.tensor([[0.5, 1.0, 1.5]], dtype=torch.float64)
    cell = ((24, 24), 0.125, 4.0)

    def potential(positions, factors=None):
        # A tall slice: the atom stays in it
        return projected_slices(["Si"], positions, [-5.0, 5.0], *cell, factors)[0]

    snapshots = torch.stack([potential(displaced(atom, [1.5], generator)) for _ in range(4000)])
    smeared, sharp = potential(atom, [1.5]), potential(atom)
    assert float((snapshots.mean(0) - smeared).abs().max() / smeared.max()) < 0.03
    assert float((sharp - smeared).abs().max() / smeared.max()) > 0.3


def test_the_displacements_have_the_factors_variance():
    positions = torch.zeros(20000, 3, dtype=torch.float64)
    moved = displaced(positions, [0.5] * 10000 + [2.0] * 10000, torch.Generator().manual_seed(1))
    for part, factor in ((moved[:10000], 0.5), (moved[10000:], 2.0)):
        assert float(part.var()) == pytest.approx(factor / (8 * math.pi**2), rel=0.03)
    assert torch.equal(displaced(positions, [0.0] * 20000, torch.Generator().manual_seed(1)), positions)
