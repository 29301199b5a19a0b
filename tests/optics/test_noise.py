import pytest
import torch

from workflow_scripts.optics.noise import poisson_counts

PATTERN = torch.full((200, 20, 20), 1 / 400, dtype=torch.float64)


def test_mean_and_variance_are_the_expected_counts():
    counts = poisson_counts(PATTERN, 2000.0, torch.Generator().manual_seed(0))
    assert counts.mean() == pytest.approx(5, rel=0.01)
    assert counts.var() == pytest.approx(5, rel=0.03)
    assert torch.equal(counts, counts.round())


def test_dose_may_differ_from_pattern_to_pattern():
    dose_e = torch.tensor([0.0, 1e6], dtype=torch.float64).repeat(100)[:, None, None]
    counts = poisson_counts(PATTERN, dose_e, torch.Generator().manual_seed(0))
    assert counts[0::2].sum() == 0
    assert counts[1::2].sum(dim=(1, 2)).mean() == pytest.approx(1e6, rel=1e-3)


def test_the_generator_is_the_only_source_of_randomness():
    first, again, other = (poisson_counts(PATTERN, 2e3, torch.Generator().manual_seed(s)) for s in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
