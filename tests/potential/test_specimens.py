import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from workflow_scripts.optics.detectors import Detector
from workflow_scripts.optics.kirkland import scattering_factor_a
from workflow_scripts.optics.plane_waves import Probe
from workflow_scripts.optics.potential import VOLT_A2
from workflow_scripts.potential.settings import MultisliceSettings
from workflow_scripts.potential.simulation.specimens import View, compute, low_pass
from workflow_scripts.potential.simulation.structures import Crystal, crystal

FINENESS = MultisliceSettings(pixel_a=0.2, slice_a=2.7, field_a=7.0, phonon_configurations=0, memory_mib=256)
CPU = torch.device("cpu")
DETECTORS = [Detector(10, 40, 4), Detector(0, 20, 4)]


def computed(material="SrTiO3", tilt_mrad=(0.0, 0.0), detectors=DETECTORS, thickness_nm=(2.0, 4.0), fineness=FINENESS):
    structure = crystal(material) if isinstance(material, str) else material
    probe = Probe(200.0, 20.0, tilt_mrad=tilt_mrad, source_size_a=0.2)
    return compute(structure, probe, detectors, thickness_nm, fineness, torch.Generator().manual_seed(0), CPU)


@given(st.floats(-360, 360), st.floats(-5, 5), st.floats(-5, 5))
def test_a_view_turns_by_its_angle(rotation_deg, y, x):
    view = View(rotation_deg, (0.3, 0.7))
    turned = view.to_scan((y, x))
    assert math.hypot(*turned) == pytest.approx(math.hypot(y, x))
    if math.hypot(y, x) > 1e-3:
        angle = math.degrees(math.atan2(turned[1], turned[0]) - math.atan2(x, y))
        assert (angle - rotation_deg + 180) % 360 == pytest.approx(180, abs=1e-6)
    positions = view.positions_a(5, 0.2)
    assert positions[0].tolist() == [0.3, 0.7]
    along_y = (positions[5] - positions[0]).tolist()  # one pixel of the scan along y, in the crystal
    assert view.to_scan(along_y) == pytest.approx((0.2, 0.0))


def test_a_quarter_turn_of_the_crystal_turns_the_images_and_renames_the_segments():
    origin, side, pixel_a = (0.4, 1.1), 16, 0.25
    images = {}
    for angle in (20.0, 110.0):
        detectors = [replace(detector, rotation_deg=-angle) for detector in DETECTORS]
        found = computed("KNbO3", (2.0, -1.0), detectors)
        images[angle] = found.images.at(View(angle, origin).positions_a(side, pixel_a)).unflatten(-1, (side, side))
    # The scan of the rotated crystal at [i, j] is the other scan at [j, −i]
    straight, turned = images[20.0], images[110.0]
    positions = View(20.0, origin).positions_a(2 * side, pixel_a)
    middle = torch.tensor(origin).double()
    detectors = [replace(detector, rotation_deg=-20.0) for detector in DETECTORS]
    mirrored = computed("KNbO3", (2.0, -1.0), detectors).images
    for i, j in ((0, 0), (3, 5), (7, 1)):
        step = (positions[2 * side] - positions[0]) * j - (positions[1] - positions[0]) * i
        there = mirrored.at((middle + step)[None])[..., 0].unflatten(-1, (2, 4))
        assert torch.allclose(turned[..., i, j].unflatten(-1, (2, 4)), there.roll(1, -1), atol=1e-5)
    assert float((straight - turned).abs().max()) > 1e-2


def test_the_mean_potential_is_that_of_all_atoms():
    """F(0) of each atom over the area of the cell, times the periods passed."""
    found = computed("SrTiO3", (3.0, 1.0), thickness_nm=(3.90528,))
    _, height, width = crystal("SrTiO3").cell_a
    zero = torch.zeros(1, dtype=torch.float64)
    per_cell = VOLT_A2 * sum(float(scattering_factor_a(symbol, zero)) for symbol in ("Sr", "Ti", "O", "O", "O"))
    assert found.thickness_nm[0] == pytest.approx(3.90528)
    mean = found.potential.raster((64, 64)).mean()
    assert float(mean) == pytest.approx(10 * per_cell / (height * width), rel=1e-9)


def column():
    """One atom a period, off the origin."""
    return Crystal("column", ("Sr",), np.array([[0.0, 2.0, 2.0]]), (2.0, 4.0, 4.0), (0.5,))


def test_the_potential_is_summed_along_the_tilted_beam():
    """At depth z the beam that entered at r is at r + t z: the image shows an atom there at its position minus t z."""
    tilt_mrad = (30.0, -12.0)
    found = computed(column(), tilt_mrad, thickness_nm=(0.2, 4.0))
    single, line = found.potential.raster((64, 64))

    def middle(image):
        """By the phase of the first harmonics, Å."""
        spectrum = torch.fft.fft2(image)
        return [float(-spectrum[axis].angle() / (2 * math.pi) * 4.0) % 4.0 for axis in ((1, 0), (0, 1))]

    depth_a = 19 / 2 * 2.0  # mean over 20 atoms, the first at the surface
    assert middle(single) == pytest.approx([2.0, 2.0], abs=1e-6)
    expected = [2.0 - 1e-3 * tilt * depth_a for tilt in tilt_mrad]
    assert middle(line) == pytest.approx(expected, abs=1e-4)
    assert float(line.max()) < 0.9 * 20 * float(single.max())


def test_atoms_at_rest_give_the_same_with_phonons():
    """Frozen phonons of atoms that do not move are the crystal itself: the whole field of view against one cell."""
    still = replace(crystal("SrTiO3"), debye_waller_a2=(0.0,) * 5)
    moving = FINENESS.model_copy(update={"phonon_configurations": 2})
    positions = torch.tensor([[0.1, 0.2], [1.3, 3.0], [6.0, 2.2]]).double()
    by_cell, by_field = (computed(still, (2.0, 1.0), fineness=fine).images.at(positions) for fine in (FINENESS, moving))
    assert float((by_cell - by_field).abs().max()) < 1e-5


def test_phonons_scatter_to_high_angles():
    """The intensity that Debye–Waller factors remove from the elastic wave is at high angles in snapshots."""
    hot = replace(crystal("SrTiO3"), debye_waller_a2=(1.5,) * 5)
    dark = [Detector(30, 40)]
    on_column = torch.tensor([[0.0, 0.0]]).double()
    smeared = computed(hot, detectors=dark, thickness_nm=(8.0,)).images.at(on_column)
    moving = computed(
        hot, detectors=dark, thickness_nm=(8.0,), fineness=FINENESS.model_copy(update={"phonon_configurations": 6})
    ).images.at(on_column)
    assert float(moving) > 1.1 * float(smeared)


def test_low_pass_keeps_what_is_below():
    potential = computed().potential
    kept = low_pass(potential, 1.0)
    fine = [series.raster((80, 80)) for series in (potential, kept)]
    y, x = (torch.fft.fftfreq(80, side / 80, dtype=torch.float64) for side in potential.period_a)
    mask = torch.hypot(y[:, None], x) < 1.0
    expected = torch.fft.ifft2(torch.fft.fft2(fine[0]) * mask).real
    assert torch.allclose(fine[1], expected, atol=1e-6 * float(expected.max()))
    assert kept.coefficients.shape[-1] < potential.coefficients.shape[-1]


def test_a_wider_field_of_view_converges():
    """Neither wrap-around nor the coarse sampling of the aperture's edge is left in a wide field."""
    positions = torch.tensor([[0.5, 0.9], [0.0, 0.0], [1.9, 1.9]]).double()
    signals = [
        computed(thickness_nm=(10.0,), fineness=FINENESS.model_copy(update={"field_a": field})).images.at(positions)
        for field in (4.0, 24.0, 36.0)
    ]
    narrow, wide = (float((signal - signals[-1]).abs().max()) for signal in signals[:-1])
    assert wide < 0.004
    assert narrow > 3 * wide
