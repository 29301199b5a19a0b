"""Observed patterns: what each distortion does, shares, doses, determinism."""

import math
from dataclasses import replace

import pytest
import torch

from tests.matching.test_kinematic import rotations, simulator
from workflow_scripts.matching.settings import ObservationSettings
from workflow_scripts.matching.simulation.observed import (
    counts,
    draw,
    expected,
    in_session,
    visible_pixels,
)

ALL = ObservationSettings(
    mosaic_deg=1.0,
    centre_px=1.0,
    ellipticity=0.03,
    camera_length=0.03,
    beam_stop_px=3.0,
    halo=0.8,
    session_variation=0.1,
)
NOTHING = ALL.model_copy(update=dict.fromkeys(ObservationSettings.model_fields, 0.0))


def drawn(ranges, number=6, seed=0, made=None):
    """Observations; of one thickness where the centre is not moved."""
    light = (made or simulator()).diffraction
    observation = draw(ranges, light, number, torch.Generator().manual_seed(seed))
    if ranges.centre_px > 0:
        return observation
    return replace(observation, thickness_nm=torch.full((number,), light.thickness_nm))


def off(first, second):
    return (first - second).abs().sum(dim=(1, 2))


def radius_of(patterns):
    axis = torch.arange(patterns.shape[-1]) - (patterns.shape[-1] - 1) / 2
    return axis[:, None].square().add(axis.square()).sqrt()


def test_without_distortions_it_is_the_calculated_pattern():
    made, turns = simulator(), rotations(6)
    observed = expected(made, turns, drawn(NOTHING))
    assert float(off(observed.spots, made.patterns(turns)).max()) < 1e-4
    assert torch.allclose(observed.background, torch.tensor(1 / 64**2))
    assert visible_pixels(made.diffraction, drawn(NOTHING)).all()


def test_everything_is_a_share_and_hidden_pixels_are_dark():
    made, observation = simulator(), drawn(ALL, 70)
    observed, visible = expected(made, rotations(70), observation), visible_pixels(made.diffraction, observation)
    for part in (observed.spots, observed.background):
        assert part.shape == (70, 64, 64) and part.dtype == torch.float32 and float(part.min()) >= 0
        assert torch.allclose(part.sum(dim=(1, 2)), torch.ones(70), atol=1e-4)
        assert float(part[~visible].max()) == 0
    assert 0.003 < float((~visible).float().mean()) < 0.1


def test_the_generator_decides():
    turns = rotations(5)
    first, second, other = (expected(simulator(), turns, drawn(ALL, 5, seed)) for seed in (0, 0, 1))
    assert torch.equal(first.spots, second.spots) and torch.equal(first.background, second.background)
    assert float(off(first.spots, other.spots).min()) > 0.01


def test_rows_and_batches_do_not_matter():
    turns, observation = rotations(130), drawn(ALL, 130)
    together = expected(simulator(), turns, observation)
    alone = expected(simulator(), turns[100:103], observation[100:103])
    assert float(off(alone.spots, together.spots[100:103]).max()) < 1e-3


def test_camera_length_and_centre():
    turns, plain = rotations(6), drawn(NOTHING)
    made = simulator()
    longer = expected(made, turns, replace(plain, camera_length=torch.full((6,), 0.8)))
    same = simulator(pixel_size_per_a=0.03 / 0.8)
    assert float(off(longer.spots, same.patterns(turns)).median()) < 0.05
    moved = expected(made, turns, replace(plain, centre_px=torch.tensor([[3.0, -2.0]] * 6)))
    rolled = made.patterns(turns).roll((3, -2), dims=(1, 2))
    assert float(off(moved.spots[:, 6:-6, 6:-6], rolled[:, 6:-6, 6:-6]).max()) < 0.2
    assert float(off(moved.spots, made.patterns(turns)).min()) > 0.5


def test_an_ellipse_is_longer_along_its_axis():
    """Spots and rings of the background alike: along y at 90°."""
    made = simulator()
    plain = replace(drawn(ALL, 40), centre_px=torch.zeros(40, 2), stop_px=torch.zeros(40), halo=torch.ones(40))
    plain = replace(plain, camera_length=torch.ones(40), ring_share=torch.ones(40))
    stretched = replace(plain, ellipticity=torch.full((40,), 0.15), ellipse_rad=torch.full((40,), math.pi / 2))
    unstretched = replace(plain, ellipticity=torch.zeros(40))
    axis = torch.arange(64) - 31.5

    def ratio(patterns):
        return (patterns.sum(dim=2) @ axis.square()) / (patterns.sum(dim=1) @ axis.square())

    elliptical, circular = (expected(made, rotations(40), item) for item in (stretched, unstretched))
    assert torch.allclose(ratio(circular.background), torch.ones(40), atol=1e-3)
    assert (ratio(elliptical.background) > 1.3).all()
    # What leaves the detector, and the width of the spots, make it less than 1.15⁴ in a single pattern.
    assert 1.4 < float((ratio(elliptical.spots) / ratio(circular.spots)).median()) < 1.15**4


def test_mosaic_smears_which_spots_are_excited():
    """More reflections, and closer to the mean over many orientations than one orientation is."""
    made, turns = simulator(thickness_nm=30.0), rotations(30)

    def number_of_spots(mosaic_deg):
        spots = expected(made, turns, drawn(NOTHING.model_copy(update={"mosaic_deg": mosaic_deg}), 30)).spots
        return float((1 / spots.square().sum(dim=(1, 2))).mean())

    assert number_of_spots(3.0) > 1.2 * number_of_spots(0.0)


def test_second_crystal():
    made, turns, plain = simulator(), rotations(6), drawn(NOTHING)
    other = rotations(6, 9)
    both = expected(made, turns, plain, second=other, second_share=0.25).spots
    assert float(off(both, 0.75 * made.patterns(turns) + 0.25 * made.patterns(other)).max()) < 1e-3


def test_damage_fades_the_outer_spots():
    made, turns, plain = simulator(), rotations(20), drawn(NOTHING, 20)
    axis = torch.arange(made.diffraction.side_px) - made.diffraction.centre_px
    radius = torch.hypot(axis[:, None], axis)
    whole, damaged = (expected(made, turns, plain, damping_a2=b).spots for b in (0.0, 20.0))
    ratio = (damaged * radius).sum(dim=(1, 2)) / (whole * radius).sum(dim=(1, 2))
    assert float(ratio.max()) < 1 and float(ratio.mean()) < 0.8


def test_the_camera_of_a_session_is_constant_but_for_its_variation():
    own, session = drawn(ALL, 200), drawn(ALL, 3, seed=1)[torch.arange(200) % 3]
    for variation in (0.0, 0.1, 1.0):
        made = in_session(own, session, variation)
        for name in ("centre_px", "camera_length", "ellipticity"):
            spread = float((getattr(made, name) - getattr(session, name)).std())
            assert spread == pytest.approx(
                variation * float((getattr(own, name) - getattr(session, name)).std()), abs=1e-6
            )
        # The stop does not move on the detector
        stop_px = made.centre_px + made.stop_offset_px
        assert torch.allclose(stop_px, session.centre_px + session.stop_offset_px, atol=1e-5)
        assert torch.equal(made.wire_rad, session.wire_rad) and torch.equal(made.halo, own.halo)


def test_beam_stop_and_wire():
    made = simulator()
    observation = replace(
        drawn(NOTHING, 1),
        stop_px=torch.tensor([6.0]),
        stop_offset_px=torch.zeros(1, 2),
        wire_rad=torch.tensor([math.pi / 2]),
    )
    visible = visible_pixels(made.diffraction, observation)[0]
    radius = radius_of(visible)
    assert not visible[radius < 6].any()
    assert not visible[40:, 31:33].any()  # the wire leads along +y to the rim
    assert visible[:20].all() and visible[:, :20].all() and visible[:, 44:].all()
    assert visible[radius > 6][: 64 * 20].all()
    assert visible_pixels(made.diffraction, drawn(NOTHING)).all()


def test_halo_and_rings():
    """The halo falls off with the radius; rings lie at theirs, in 1/Å."""
    made = simulator()
    base = replace(
        drawn(ALL.model_copy(update={"beam_stop_px": 0.0}), 1), centre_px=torch.zeros(1, 2), halo=torch.ones(1)
    )
    base = replace(base, ellipticity=torch.zeros(1), camera_length=torch.ones(1), stop_px=torch.zeros(1))
    smooth = expected(made, rotations(1), replace(base, ring_share=torch.zeros(1))).background[0]
    assert (smooth[31, 32:].diff() < 0).all()
    rings = replace(base, ring_share=torch.ones(1), ring_per_a=torch.tensor([[0.3, 0.6]]))
    rings = replace(rings, ring_width_per_a=torch.full((1, 2), 0.02))
    ringed = expected(made, rotations(1), rings).background[0]
    assert int(ringed[31, 32:].argmax()) == pytest.approx(0.3 / 0.03 - 0.5, abs=1)
    flat = expected(made, rotations(1), replace(base, halo=torch.zeros(1))).background[0]
    assert torch.allclose(flat, torch.tensor(1 / 64**2))


def test_counts_have_their_doses():
    """Whole numbers, the right totals for spots and background apart, variance as the mean."""
    observed = expected(simulator(), rotations(40), drawn(ALL, 40))
    generator = torch.Generator().manual_seed(0)
    many = counts(observed.spots, observed.background, 300.0, 200.0, generator)
    assert torch.equal(many, many.round()) and many.dtype == torch.float32
    assert float(many.sum(dim=(1, 2)).mean()) == pytest.approx(500, abs=4 * math.sqrt(500 / 40))
    assert float(many.sum(dim=(1, 2)).var()) == pytest.approx(500, rel=0.9)
    assert float(counts(observed.spots, observed.background, 0.0, 0.0, generator).sum()) == 0
    again = torch.Generator().manual_seed(0)
    assert torch.equal(many, counts(observed.spots, observed.background, 300.0, 200.0, again))


def test_ranges_are_kept():
    observation = drawn(ALL, 2000)
    assert float(observation.camera_length.min()) >= 0.97 and float(observation.camera_length.max()) <= 1.03
    assert float(observation.ellipticity.min()) >= 0 and float(observation.ellipticity.max()) <= 0.03
    assert float(observation.halo.min()) >= 0.4 and float(observation.halo.max()) <= 0.8
    assert observation.centre_px.std(dim=0).tolist() == pytest.approx([1.0, 1.0], rel=0.1)
    assert float(observation.thickness_nm.min()) >= 7 and float(observation.thickness_nm.max()) <= 13
