"""Flat fields: the illumination drifts, the detector stays; sessions differ; they look like real ones."""

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from tifffile import imread

from workflow_scripts.background.simulation.backgrounds import (
    MARGIN,
    Session,
    _edge,
    _interpolation,
    _noise,
    draw_detector,
    draw_illumination,
    draw_session,
    log_flats,
)

SIDE = 48
SB_HALVES = [([0, 1], [2, 3]), ([0, 2], [1, 3]), ([0, 3], [1, 2])]
BANDS_PX = (0.5, 1, 2, 4, 8)  # difference of Gaussian filters of so many pixels and of twice as many


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def session(detector, seed, persistence=(0.9, 0.25), severity=1.0, microscope=100):
    """A session of the microscope whose own illumination has the seed `microscope`."""
    lasting = draw_illumination(detector.shape[-1], generator(microscope))
    return draw_session(detector, lasting, persistence, generator(seed), severity)


def session_of(illumination, drift_px, detector=None, change=None):
    """A session with a given illumination, whose other parts are absent unless given."""
    nothing = torch.zeros(SIDE, SIDE)
    return Session(
        nothing if detector is None else detector,
        illumination,
        nothing if change is None else change,
        torch.tensor(drift_px),
    )


def wide_wave(frequency=0.05):
    """sin(2π f (y + 0.7 x)) over the detector and its margin, at positions counted from the detector's first pixel."""
    margin_px = round(MARGIN * SIDE)
    line = torch.arange(SIDE + 2 * margin_px) - margin_px
    return wave(line[:, None], line[None], frequency)


def wave(y, x, frequency=0.05):
    return torch.sin(2 * torch.pi * frequency * (y + 0.7 * x))


@pytest.mark.parametrize("drift_px", [(0.0, 0.0), (0.4, -1.3), (2.0, 1.0), (-3.7, 0.25)])
def test_the_illumination_moves_by_parts_of_a_pixel(drift_px):
    """At the end of the session a pixel sees what lay one way further along in the illumination."""
    flats = log_flats(session_of(wide_wave(), drift_px), torch.tensor([0.0, 0.5, 1.0]))
    line = torch.arange(SIDE)
    for flat, time in zip(flats, (0.0, 0.5, 1.0), strict=True):
        expected = wave(line[:, None] + time * drift_px[0], line[None] + time * drift_px[1])
        assert torch.allclose(flat, expected - wave(line[:, None], line[None]).mean(), atol=3e-3)


@pytest.mark.parametrize("power", [0, 1, 2])
def test_interpolation_is_exact_for_parabolas(power):
    places = torch.tensor([[2.0, 2.25, 5.5, 7.9]], dtype=torch.float64)
    read = _interpolation(places, 12) @ torch.arange(12.0, dtype=torch.float64) ** power
    assert torch.allclose(read, places**power)


def test_beyond_the_margin_its_last_light_is_seen():
    weights = _interpolation(torch.tensor([[-5.0, 20.0]]), 10)
    assert weights[0, 0].argmax() == 1 and weights[0, 1].argmax() == 8
    assert torch.allclose(weights.sum(-1), torch.ones(1, 2))


def test_the_detector_does_not_move():
    detector = draw_detector(SIDE, generator())
    level = wide_wave() * 0
    flats = log_flats(session_of(level, (2.0, 3.0), detector), torch.tensor([0.0, 1.0]))
    assert torch.equal(flats[0], flats[1])
    assert torch.allclose(flats[0], detector - detector.mean(), atol=1e-6)


def test_the_shading_changes_evenly_in_time():
    change = torch.rand(SIDE, SIDE, generator=generator())
    flats = log_flats(session_of(wide_wave(), (0.0, 0.0), change=change), torch.tensor([0.0, 0.25, 1.0]))
    assert torch.allclose(flats[1] - flats[0], 0.25 * change, atol=1e-6)
    assert torch.allclose(flats[2] - flats[0], change, atol=1e-6)


@pytest.mark.parametrize("seed", range(5))
def test_the_first_flat_field_has_the_mean_0(seed):
    drawn = session(draw_detector(SIDE, generator(seed)), seed + 10)
    flats = log_flats(drawn, torch.tensor([0.0, 0.6]))
    assert abs(float(flats[0].mean())) < 1e-6
    assert torch.equal(log_flats(drawn, torch.tensor([0.6]))[0], flats[1])  # whatever other moments are asked


def test_a_moment_does_not_depend_on_its_neighbours():
    drawn = session(draw_detector(SIDE, generator()), 1)
    times = torch.linspace(0, 1, 7)
    together = log_flats(drawn, times)
    assert torch.allclose(together, torch.cat([log_flats(drawn, time[None]) for time in times]), atol=1e-6)


def test_sessions_of_one_microscope_share_the_detector_and_what_persists():
    detector = draw_detector(SIDE, generator())
    first, other = session(detector, 1), session(detector, 2)
    assert torch.equal(first.log_detector, other.log_detector)
    for name in ("log_illumination", "log_change", "drift_px"):
        assert not torch.allclose(getattr(first, name), getattr(other, name)), name
    first, other = (session(detector, seed, persistence=(1.0, 1.0)) for seed in (1, 2))
    assert torch.equal(first.log_illumination, other.log_illumination)
    assert not torch.allclose(first.drift_px, other.drift_px)


@pytest.mark.parametrize("persistence", [0.0, 0.5])
def test_persistence_is_the_correlation_of_two_sessions_and_keeps_the_variance(persistence):
    """Over many microscopes, in the middle, which no edge reaches."""
    first, other, fixed = (
        torch.stack(
            [
                session(torch.zeros(16, 16), seed + k, (share,) * 2, microscope=5000 + k).log_illumination
                for k in range(300)
            ]
        )[:, 6:14, 6:14]
        for seed, share in ((0, persistence), (1000, persistence), (0, 1.0))
    )
    first, other, fixed = (images - images.mean(dim=0) for images in (first, other, fixed))
    assert float((first * other).mean() / (first.std() * other.std())) == pytest.approx(persistence, abs=0.1)
    assert float(first.std() / fixed.std()) == pytest.approx(1, abs=0.15)


def test_severity_multiplies_the_contrast():
    assert torch.allclose(draw_detector(SIDE, generator(), 1.5), 1.5 * draw_detector(SIDE, generator()), atol=1e-6)
    detector = torch.zeros(SIDE, SIDE)
    usual, severe = (session(detector, 0, severity=severity) for severity in (1.0, 1.5))
    assert torch.allclose(severe.log_illumination, 1.5 * usual.log_illumination, atol=1e-6)
    assert torch.equal(severe.drift_px, usual.drift_px)


def test_the_same_seed_gives_the_same_session():
    first, again = (session(draw_detector(SIDE, generator(5)), 6) for _ in range(2))
    assert all(torch.equal(getattr(first, name), getattr(again, name)) for name in first.__dataclass_fields__)


def test_the_way_stays_within_the_margin():
    for seed in range(30):
        drawn = session(torch.zeros(SIDE, SIDE), seed)
        assert drawn.log_illumination.shape == (SIDE + 2 * round(MARGIN * SIDE),) * 2
        assert torch.linalg.norm(drawn.drift_px) < MARGIN * SIDE


def test_an_edge_of_the_illumination_only_darkens():
    line = (torch.arange(SIDE) + 0.5) / SIDE
    y, x = torch.meshgrid(line, line, indexing="ij")
    edges = torch.stack([_edge(y, x, generator(seed)) for seed in range(20)])
    assert (edges <= 0).all() and edges.min() > np.log(0.15) - 1e-6
    assert edges.min() < -0.5 and edges[:, SIDE // 2, SIDE // 2].abs().max() < 1e-3


@pytest.mark.parametrize("scale_px", [0.6, 2.0, 6.0])
def test_noise_has_unit_variance_and_its_scale(scale_px):
    """Neighbours of a Gaussian-filtered white noise correlate as exp(−1 / (4 σ²))."""
    noise = torch.stack([_noise(96, scale_px, generator(seed)) for seed in range(8)])
    assert noise.mean() == pytest.approx(0, abs=1e-5) and noise.std() == pytest.approx(1, abs=0.01)
    if scale_px >= 1:  # the grid undersamples what is finer
        assert (noise * noise.roll(1, -1)).mean() == pytest.approx(np.exp(-1 / (4 * scale_px**2)), abs=0.02)


@pytest.fixture(scope="module")
def population():
    """Log flat fields (40, 64, 64) of as many microscopes at the beginning of a session, and at its end."""
    drawn = [session(draw_detector(64, generator(k)), 1000 + k, microscope=2000 + k) for k in range(40)]
    return np.stack([log_flats(one, torch.tensor([0.0, 1.0])).numpy() for one in drawn])


def test_there_is_light_everywhere(population):
    assert population.min() > -3.5 and population.max() < 1.5


def test_drift_is_slow(population):
    """Over a session a flat field changes by a share of its own contrast, and never not at all."""
    change = (population[:, 1] - population[:, 0]).std((1, 2)) / population[:, 0].std((1, 2))
    assert change.max() < 0.5 and 0.03 < np.median(change) < 0.3


def bands(log_flat, lit):
    """Contrast of a log flat field by scale, over the lit pixels."""
    flat = np.where(lit, log_flat - np.median(log_flat[lit]), 0)
    return np.array([(gaussian_filter(flat, s) - gaussian_filter(flat, 2 * s))[lit].std() for s in BANDS_PX])


def binned_tiles(folder):
    """The tiles of a real mosaic, averaged to 64 × 64 px."""
    tiles = np.stack([imread(path).astype(float) for path in sorted(folder.glob("*.tif"))])
    return tiles.reshape(len(tiles), 64, tiles.shape[1] // 64, 64, -1).mean((2, 4))


@pytest.mark.parametrize("mosaic", ["nsrrc_lm1_4x4", "nsrrc_sb_2x2", "aps_8bm_mosaic_4x4"])
def test_real_flat_fields_lie_among_them(real_data, population, mosaic):
    """The pixelwise median of a real mosaic has contrasts that the population reaches within a factor of 1.5."""
    real = np.median(binned_tiles(real_data / mosaic), axis=0)
    measured = bands(np.log(np.maximum(real, 1)), real > 0.5 * np.median(real))
    drawn = np.stack([bands(flat, flat > np.median(flat) - np.log(2)) for flat in population[:, 0]])
    assert (measured > drawn.min(0) / 1.5).all(), (measured, drawn.min(0))
    assert (measured < 1.5 * drawn.max(0)).all(), (measured, drawn.max(0))


def correlations(first, other, lit):
    """Correlation of two log flat fields by scale, and as a whole, over the lit pixels."""
    parts = [[gaussian_filter(flat, s) - gaussian_filter(flat, 2 * s) for flat in (first, other)] for s in BANDS_PX]
    return np.array([np.corrcoef(a[lit], b[lit])[0, 1] for a, b in [*parts, (first, other)]])


def test_two_sessions_correlate_like_a_real_pair(real_data):
    """Lm-1 and Sb, taken at the same microscope nine weeks apart, by scale.

    The correlation of the two medians is too small, since the specimen remains in the median of the four tiles of Sb.
    Corrected for the correlation of two halves of either mosaic (Spearman, doi:10.2307/1412159) it is an upper limit:
    the specimen covers different parts of the tiles of Sb, so that its halves agree too little. Either limit changes
    by about 0.1 if one tile of Sb is left out.
    """
    lm1, sb = (np.log(binned_tiles(real_data / name)) for name in ("nsrrc_lm1_4x4", "nsrrc_sb_2x2"))
    lm1, sb = (logs - np.median(logs, axis=(1, 2), keepdims=True) for logs in (lm1, sb))
    flats = [np.median(logs, axis=0) for logs in (lm1, sb)]
    lit = np.min(flats, axis=0) > -np.log(2)
    lower = correlations(*flats, lit)
    halves = np.mean([correlations(sb[rows].mean(0), sb[rest].mean(0), lit) for rows, rest in SB_HALVES], axis=0)
    halves_lm1 = correlations(np.median(lm1[::2], axis=0), np.median(lm1[1::2], axis=0), lit)
    upper = lower / np.sqrt(np.prod([2 * half / (1 + half) for half in (halves, halves_lm1)], axis=0))
    drawn = []
    for k in range(40):
        detector = draw_detector(64, generator(k))
        pair = [
            log_flats(session(detector, 1000 * j + k, microscope=5000 + k), torch.zeros(1))[0].numpy() for j in (1, 2)
        ]
        drawn.append(correlations(*pair, np.min([flat - np.median(flat) for flat in pair], axis=0) > -np.log(2)))
    median = np.median(drawn, axis=0)
    assert (median > lower - 0.1).all() and (median < np.minimum(upper, 1) + 0.1).all(), (lower, median, upper)
