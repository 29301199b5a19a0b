"""Least squares against dense linear algebra and against perfect patches; the published filter."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.stitching import illumination
from benchmarks.stitching import main as benchmark
from workflow_scripts.diffractive_imaging.evaluation.transfer import (
    beside_truth,
    transfer_by_period,
    white_noise_scan,
)
from workflow_scripts.diffractive_imaging.networks import stitching
from workflow_scripts.diffractive_imaging.networks.layout import lay_out
from workflow_scripts.diffractive_imaging.networks.stitching import (
    NormalOperator,
    damped_average,
    least_squares,
    residual_variance,
    to_object_pixels,
)
from workflow_scripts.diffractive_imaging.simulation.forward import window_at
from workflow_scripts.diffractive_imaging.simulation.objects import refine
from workflow_scripts.workflow.errors import InputError


@pytest.fixture(scope="module")
def perfect():
    """A white-noise object 220 px wide, 140 × 140 positions, and the patches of a perfect network."""
    return white_noise_scan(140, 1.5, 0.15, 32, seed=7)


def transfer(stitched, object_rad):
    return transfer_by_period(*beside_truth(stitched, object_rad))


def random_scan(seed, n_patches=25, span=2.0, size=6):
    generator = torch.Generator().manual_seed(seed)
    positions = torch.round(4 * span * torch.rand((n_patches, 2), generator=generator, dtype=torch.float64)) / 4
    weights = torch.rand((size, size), generator=generator, dtype=torch.float64)
    weights[weights < 0.3] = 0.0
    patches = torch.randn((n_patches, size, size), generator=generator, dtype=torch.float64)
    return patches, positions, weights


def test_perfect_patches_stitch_to_the_object_at_all_periods(perfect):
    object_fine, positions, patches = perfect
    stitched = least_squares(patches, positions, illumination())
    assert list(transfer(stitched, object_fine).values()) == pytest.approx([1.0] * 4, abs=0.04)
    assert stitched.iterations <= 60


def test_the_published_stitch_is_a_high_pass_filter(perfect):
    object_fine, positions, patches = perfect
    published = damped_average(patches, positions, illumination(), generator=torch.Generator().manual_seed(0))
    by_period = transfer(published, object_fine)
    assert by_period["transfer_period_100px"] <= 0.05
    assert (
        by_period["transfer_period_100px"] < by_period["transfer_period_10_15px"] < by_period["transfer_period_4_6px"]
    )


@given(st.integers(0, 2**16))
@settings(max_examples=15, deadline=None)
def test_least_squares_is_the_minimum_over_image_and_offsets(seed):
    """Against numpy's dense least squares with the offsets as further unknowns."""
    patches, positions, weights = random_scan(seed)
    layout, pixels = lay_out(patches, positions, weights, 4)
    n_pixels = math.prod(layout.shape)
    rows, right = [], []
    for j, corner in enumerate(layout.corners):
        for k, offset in enumerate(layout.offsets):
            scale = float(torch.sqrt(layout.weights[k]))
            row = np.zeros(n_pixels + len(patches))
            row[int(corner + offset)], row[n_pixels + j] = scale, -scale
            rows.append(row)
            right.append(scale * float(pixels[j, k]))
    dense = np.linalg.lstsq(np.array(rows), np.array(right))[0][:n_pixels].reshape(layout.shape)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stitching, "TOLERANCE", 1e-10)
        stitched = least_squares(patches, positions, weights)
    difference = layout.crop(torch.from_numpy(dense)) - stitched.phase
    difference = difference[~difference.isnan()]
    assert float((difference - difference.mean()).abs().max()) < 1e-6
    assert abs(float(stitched.phase.nanmean())) < 1e-9


@given(st.integers(0, 2**16))
@settings(max_examples=15, deadline=None)
def test_the_operator_and_its_preconditioner_are_symmetric_and_never_negative(seed):
    patches, positions, weights = random_scan(seed)
    layout, _ = lay_out(patches, positions, weights, 4)
    operator = NormalOperator(layout)
    generator = torch.Generator().manual_seed(seed)
    first, second = torch.randn((2, *layout.shape), generator=generator, dtype=torch.float64) * operator.covered
    for apply in (operator, operator.long_periods):
        assert torch.isclose((first * apply(second)).sum(), (apply(first) * second).sum(), rtol=1e-9, atol=1e-9)
        assert (first * apply(first)).sum() > -1e-9
    flat = operator.covered.to(torch.float64)
    assert float(operator(flat).abs().max()) < 1e-9


def test_an_offset_of_a_patch_changes_nothing(perfect):
    _, positions, patches = perfect
    offsets = torch.randn(len(patches), 1, 1, generator=torch.Generator().manual_seed(1))
    plain = least_squares(patches[:500], positions[:500], illumination())
    shifted = least_squares((patches + offsets)[:500], positions[:500], illumination())
    assert torch.allclose(plain.phase, shifted.phase, atol=1e-5, equal_nan=True)


@pytest.mark.parametrize("gap", [2.0, 40.0])
def test_each_part_that_shares_no_pixel_with_another_has_a_mean_of_zero(gap):
    """A gap of 2 px lets patches of 2 px touch without sharing a pixel: their offset stays unknown."""
    patches = torch.randn(2, 8, 8, generator=torch.Generator().manual_seed(2))
    stitched = least_squares(patches, torch.tensor([[0.0, 0.0], [0.0, gap]]), torch.ones(8, 8))
    for part in (stitched.phase[:, :8], stitched.phase[:, 4 * int(gap) : 4 * int(gap) + 8]):
        assert part.shape == (8, 8)
        assert abs(float(part.mean())) < 1e-5
    assert bool(stitched.phase[:, 8 : 4 * int(gap)].isnan().all())
    joined = least_squares(patches, torch.tensor([[0.0, 0.0], [0.0, 1.75]]), torch.ones(8, 8))
    assert abs(float(joined.phase[:, :8].mean())) > 1e-3


def test_patches_without_contrast_make_a_flat_image():
    stitched = least_squares(torch.full((4, 8, 8), 3.0), torch.rand(4, 2), torch.ones(8, 8))
    assert float(stitched.phase[~stitched.phase.isnan()].abs().max()) < 1e-12


def test_too_few_iterations_are_reported_and_far_too_few_refused(monkeypatch):
    monkeypatch.setattr(stitching, "SUBPIXEL_PASSES", 0)
    monkeypatch.setattr(stitching, "MAX_ITERATIONS", 5)
    with pytest.warns(UserWarning, match="stopped after 5 iterations"):
        least_squares(*random_scan(5))
    monkeypatch.setattr(stitching, "MAX_ITERATIONS", 1)
    with pytest.raises(InputError, match="stitching did not converge: after 1 iterations"):
        least_squares(*random_scan(5))


def test_patches_that_nothing_connects_are_counted_as_parts():
    positions = torch.tensor([[0.0, 0.0], [0.0, 1.0], [0.0, 9.0]], dtype=torch.float64)
    assert least_squares(torch.randn(3, 8, 8), positions, torch.ones(8, 8)).parts == 2
    assert least_squares(torch.randn(2, 8, 8), positions[:2], torch.ones(8, 8)).parts == 1


def test_object_pixels_keep_a_ramp_in_place():
    """Interior object pixels of a linear image equal it at their centres: no shift by half a fine pixel."""
    for upsampling in (1, 3, 4):
        y, x = torch.meshgrid(*(torch.arange(6.0 * upsampling, dtype=torch.float64),) * 2, indexing="ij")
        mean = to_object_pixels((2 * y - 3 * x) / upsampling, upsampling)
        oy, ox = torch.meshgrid(*(torch.arange(6.0, dtype=torch.float64),) * 2, indexing="ij")
        assert torch.allclose(mean[1:-1, 1:-1], (2 * oy - 3 * ox)[1:-1, 1:-1])


def test_object_pixels_without_half_their_area_are_nan():
    image = torch.ones(12, 12)
    image[:, 5:] = math.nan
    mean = to_object_pixels(image, 4)
    assert torch.equal(mean[1:, :2], torch.ones(2, 2))
    assert bool(mean[:, 2].isnan().all())


def test_residual_variance_is_the_spread_of_the_patches():
    """Two patches at one place, apart by ±d: the image is their mean and the variance d² less its mean."""
    d = torch.randn(8, 8, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    d -= d.mean()
    base = torch.randn(8, 8, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    arguments = torch.stack([base + d, base - d]), torch.zeros(2, 2), torch.ones(8, 8)
    variance = residual_variance(least_squares(*arguments), *arguments)
    assert torch.allclose(variance, d**2, atol=1e-9)


def test_the_published_stitch_follows_its_recipe():
    """Against a literal transcription: whole patches, indexed by the mask, on a separate canvas."""
    generator = torch.Generator().manual_seed(0)
    patches = torch.randn((12, 16, 16), generator=generator, dtype=torch.float64)
    positions = 3 + 3 * torch.rand((12, 2), generator=generator, dtype=torch.float64)
    y, x = np.mgrid[:16, :16] - 8
    mask = y**2 + x**2 < 20
    canvas, shuffle = np.zeros((48, 48)), torch.Generator().manual_seed(5)
    for _ in range(3):
        for j in torch.randperm(12, generator=shuffle).tolist():
            row, column = (round(4 * float(p)) - 8 for p in positions[j])
            under = canvas[row : row + 16, column : column + 16]
            b = patches[j].numpy()[mask] - patches[j].numpy()[mask].mean()
            under[mask] += 0.1 * (b - under[mask] + under[mask].mean())
    stitched = damped_average(patches, positions, torch.from_numpy(mask), generator=torch.Generator().manual_seed(5))
    oy, ox = (4 * start for start in stitched.origin)
    height, width = stitched.phase.shape
    difference = torch.from_numpy(canvas[oy : oy + height, ox : ox + width]) - stitched.phase
    difference = difference[~difference.isnan()]
    assert float((difference - difference.mean()).abs().max()) < 1e-12
    assert int((~stitched.phase.isnan()).sum()) == int((stitched.coverage > 0).sum())


def test_the_same_seed_gives_the_same_bytes():
    patches, positions, weights = random_scan(9)
    for stitch in (
        lambda: least_squares(patches, positions, weights),
        lambda: damped_average(patches, positions, weights, generator=torch.Generator().manual_seed(2)),
    ):
        assert stitch().phase.numpy().tobytes() == stitch().phase.numpy().tobytes()


def test_the_benchmark_fails_where_long_periods_are_missed(monkeypatch, capsys):
    assert benchmark(["--side", "140", "--step", "1.5", "--repeats", "1"]) == 0
    filtered = lambda *scan: damped_average(*scan, generator=torch.Generator().manual_seed(0))  # noqa: E731
    monkeypatch.setattr("benchmarks.stitching.least_squares", filtered)
    assert benchmark(["--side", "140", "--step", "1.5", "--repeats", "1"]) == 1
    assert "FAILED" in capsys.readouterr().err


def test_what_the_fine_grid_rounds_off_is_made_up_for(perfect, monkeypatch):
    """Without it the long periods of white noise drown in the errors of rounding."""
    object_fine, positions, patches = perfect
    error = {}
    for passes in (0, 2):
        monkeypatch.setattr(stitching, "SUBPIXEL_PASSES", passes)
        image, truth = beside_truth(least_squares(patches, positions, illumination()), object_fine)
        error[passes] = np.nanstd(image - truth)
    assert error[2] < 0.5 * error[0]


def test_the_published_stitch_transmits_what_was_measured_on_the_real_scan(real_data):
    """91 % at periods of 4–6 px, 49 % at 10–15, 8 % at 25–50, under 1 % beyond 100."""
    positions, mask = (
        torch.from_numpy(np.load(real_data / "hbn_positions.npy")) + 8,
        torch.from_numpy(np.load(real_data / "hbn_mask.npy")),
    )
    side = int(np.ceil(float(positions.max()))) + 8
    fine = torch.from_numpy(refine(np.random.default_rng(1).standard_normal((side, side)), 4))
    patches = torch.cat([window_at(fine, part, 32, 1) for part in positions.split(1024)])
    by_period = transfer(damped_average(patches, positions, mask, generator=torch.Generator().manual_seed(0)), fine)
    assert by_period["transfer_period_4_6px"] == pytest.approx(0.91, abs=0.03)
    assert by_period["transfer_period_10_15px"] == pytest.approx(0.49, abs=0.03)
    assert by_period["transfer_period_25_50px"] == pytest.approx(0.08, abs=0.03)
    assert by_period["transfer_period_100px"] < 0.03
    assert min(transfer(least_squares(patches, positions, mask), fine).values()) >= 0.95
