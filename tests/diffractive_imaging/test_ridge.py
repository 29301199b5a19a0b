import numpy as np
import pytest
import torch

from workflow_scripts.diffractive_imaging.estimators import ridge
from workflow_scripts.diffractive_imaging.simulation import forward, objects
from workflow_scripts.optics.probe import make_probe

N = 8
MASK = torch.zeros(N, N, dtype=torch.bool)
MASK[3:6, 3:6] = True


def problem(count: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Counts (count, N, N) and patches that follow from their square roots linearly, plus noise."""
    generator = torch.Generator().manual_seed(seed)
    counts = torch.randint(0, 50, (count, N, N), generator=generator).double()
    weight = torch.randn(N * N, N * N, dtype=torch.float64, generator=torch.Generator().manual_seed(9))
    patches = (forward.network_input(counts, 500.0).flatten(1) @ weight).view_as(counts) * MASK
    return counts, patches + 0.1 * torch.randn(patches.shape, dtype=torch.float64, generator=generator) * MASK


def test_batches_and_closed_form_agree_with_least_squares_on_everything():
    counts, patches = problem(300)
    batches = ((counts[part::3], patches[part::3]) for part in range(3))
    (fit,) = ridge.fit(batches, 500.0, MASK, "amplitude", [1e-3])
    x = ridge.features(counts, 500.0, "amplitude")
    x, y = x - x.mean(dim=0), patches[:, MASK] - patches[:, MASK].mean(dim=0)
    penalty = 1e-3 * torch.trace(x.T @ x) / N**2
    rows = torch.cat([x, penalty.sqrt() * torch.eye(N * N, dtype=torch.float64)])
    expected = torch.linalg.lstsq(rows, torch.cat([y, torch.zeros(N * N, 9, dtype=torch.float64)])).solution
    assert torch.allclose(fit.weight, expected, atol=1e-8)


def test_a_linear_map_is_found_and_the_better_penalty_and_feature_chosen():
    fits = []
    counts, patches = problem(300)
    for feature in ridge.FEATURES:
        fits += ridge.fit([(counts, patches)], 500.0, MASK, feature, [1e-6, 1e-2, 1e6])
    counts, patches = problem(200, seed=1)
    best = ridge.tune(fits, counts, patches, 500.0)
    assert best.feature == "amplitude" and best.penalty < 1e6
    assert ridge.patch_r2(ridge.estimate(best, counts, 500.0), patches) > 0.99


def test_a_huge_penalty_predicts_the_mean():
    counts, patches = problem(100)
    (fit,) = ridge.fit([(counts, patches)], 500.0, MASK, "intensity", [1e12])
    predicted = ridge.estimate(fit, counts[:2], 500.0)
    assert torch.allclose(predicted[:, MASK], patches[:, MASK].mean(dim=0).expand(2, 9), atol=1e-6)
    assert (predicted[:, ~MASK] == 0).all()


def test_r2_of_truth_zeros_and_twice_the_truth():
    truth = torch.randn(5, N, N, generator=torch.Generator().manual_seed(0))
    assert ridge.patch_r2(truth, truth) == 1
    assert ridge.patch_r2(torch.zeros_like(truth), truth) == 0
    assert ridge.patch_r2(2 * truth, truth) == pytest.approx(0)


@pytest.mark.parametrize(("phase_std_rad", "anchor"), [(0.2, 0.947), (0.5, 0.921)])
def test_is_no_straw_man_on_one_over_f_objects(phase_std_rad, anchor):
    """Published-size anchors at 27,882 electrons; 4,000 samples lose at most 0.03 of them."""
    probe = make_probe(32, 80, 31.5, 7.84, cs_mm=0.0025, skirt_amplitude=0.3, skirt_decay_px=3.5)
    mask, generator = forward.patch_mask(probe), torch.Generator().manual_seed(0)
    noise = torch.from_numpy(objects.power_law_noise(5000, 32, np.random.default_rng(0)))
    phase = phase_std_rad * noise
    patches = forward.remove_mask_mean(forward.true_patch(phase), mask)
    counts = forward.measure(probe.to(torch.complex64), phase, 27882.0, generator)
    fits = ridge.fit([(counts[:4000], patches[:4000])], 27882.0, mask, "intensity", [1e-3, 1e-2, 1e-1])
    best = ridge.tune(fits, counts[4000:4500], patches[4000:4500], 27882.0)
    measured = ridge.patch_r2(ridge.estimate(best, counts[4500:], 27882.0), patches[4500:])
    assert measured == pytest.approx(anchor, abs=0.03)
