"""Flat fields: the illumination drifts, the detector stays; sessions differ; they look like real ones."""

from dataclasses import replace

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
    draw_instrument,
    draw_session,
    log_flats,
)

SIDE = 48
BANDS_PX = (0.5, 1, 2, 4, 8)  # difference of Gaussian filters of so many pixels and of twice as many


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


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
    detector = draw_instrument(SIDE, generator())
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
    session = draw_session(draw_instrument(SIDE, generator(seed)), generator(seed + 10))
    flats = log_flats(session, torch.tensor([0.0, 0.6]))
    assert abs(float(flats[0].mean())) < 1e-6
    assert torch.equal(log_flats(session, torch.tensor([0.6]))[0], flats[1])  # whatever other moments are asked


def test_a_moment_does_not_depend_on_its_neighbours():
    session = draw_session(draw_instrument(SIDE, generator()), generator(1))
    times = torch.linspace(0, 1, 7)
    together = log_flats(session, times)
    assert torch.allclose(together, torch.cat([log_flats(session, time[None]) for time in times]), atol=1e-6)


def test_sessions_of_one_instrument_share_the_detector_and_nothing_else():
    detector = draw_instrument(SIDE, generator())
    first, other = draw_session(detector, generator(1)), draw_session(detector, generator(2))
    assert torch.equal(first.log_detector, other.log_detector)
    for name in ("log_illumination", "log_change", "drift_px"):
        assert not torch.allclose(getattr(first, name), getattr(other, name)), name
    flats = [log_flats(replace(session, log_detector=0 * detector), torch.zeros(1))[0] for session in (first, other)]
    assert abs(np.corrcoef(flats[0].ravel(), flats[1].ravel())[0, 1]) < 0.8


def test_severity_multiplies_the_contrast():
    assert torch.allclose(draw_instrument(SIDE, generator(), 1.5), 1.5 * draw_instrument(SIDE, generator()), atol=1e-6)
    detector = torch.zeros(SIDE, SIDE)
    usual, severe = (draw_session(detector, generator(), severity) for severity in (1.0, 1.5))
    assert torch.allclose(severe.log_illumination, 1.5 * usual.log_illumination, atol=1e-6)
    assert torch.equal(severe.drift_px, usual.drift_px)


def test_the_same_seed_gives_the_same_session():
    first, again = (draw_session(draw_instrument(SIDE, generator(5)), generator(6)) for _ in range(2))
    assert all(torch.equal(getattr(first, name), getattr(again, name)) for name in first.__dataclass_fields__)


def test_the_way_stays_within_the_margin():
    for seed in range(30):
        session = draw_session(torch.zeros(SIDE, SIDE), generator(seed))
        assert session.log_illumination.shape == (SIDE + 2 * round(MARGIN * SIDE),) * 2
        assert torch.linalg.norm(session.drift_px) < MARGIN * SIDE


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
    """Log flat fields (40, 64, 64) of as many instruments at the beginning of a session, and at its end."""
    sessions = [draw_session(draw_instrument(64, generator(k)), generator(1000 + k)) for k in range(40)]
    return np.stack([log_flats(session, torch.tensor([0.0, 1.0])).numpy() for session in sessions])


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


@pytest.mark.parametrize("mosaic", ["nsrrc_lm1_4x4", "nsrrc_sb_2x2", "aps_8bm_mosaic_4x4"])
def test_real_flat_fields_lie_among_them(real_data, population, mosaic):
    """The pixelwise median of a real mosaic has contrasts that the population reaches within a factor of 1.5."""
    tiles = np.stack([imread(path).astype(float) for path in sorted((real_data / mosaic).glob("*.tif"))])
    real = np.median(tiles, axis=0)
    real = real.reshape(64, len(real) // 64, 64, -1).mean((1, 3))
    measured = bands(np.log(np.maximum(real, 1)), real > 0.5 * np.median(real))
    drawn = np.stack([bands(flat, flat > np.median(flat) - np.log(2)) for flat in population[:, 0]])
    assert (measured > drawn.min(0) / 1.5).all(), (measured, drawn.min(0))
    assert (measured < 1.5 * drawn.max(0)).all(), (measured, drawn.max(0))
