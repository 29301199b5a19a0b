"""Encoding is exact under quarter turns, keeps the dose's meaning, and can be undone."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.potential.toy import MICROSCOPE, PIXEL_A, toy_samples
from tests.potential.training import CPU, high_pass, pearson
from workflow_scripts.optics.detectors import Detector
from workflow_scripts.optics.plane_waves import Probe
from workflow_scripts.potential.networks import encoding
from workflow_scripts.potential.settings import ARMS, VARIANTS, MultisliceSettings
from workflow_scripts.potential.simulation.samples import FILLED, MATCHED, RING
from workflow_scripts.potential.simulation.specimens import View, compute
from workflow_scripts.potential.simulation.structures import crystal

PUBLISHED, CORRECTED = VARIANTS["published"], VARIANTS["corrected"]
DOSE = 1e5


def scenes(detector=RING, seed=0):
    return encoding.scenes_of(toy_samples(seed=seed), detector, DOSE, CPU)


def turned_channels(variant, x):
    """What a quarter turn does to the channels of `network_inputs`, from their meaning."""
    x = torch.rot90(x, 1, (-2, -1)).clone()
    x[:, :4] = x[:, [3, 0, 1, 2]]
    if variant.one_detector:  # thickness, sines and cosines of rz, rx, ry
        _, sin_z, sin_x, sin_y, cos_z, cos_x, cos_y = range(4, 11)
        old = x.clone()
        x[:, sin_z], x[:, cos_z] = old[:, cos_z], -old[:, sin_z]
        x[:, sin_x], x[:, cos_x] = -old[:, sin_y], old[:, cos_y]
        x[:, sin_y], x[:, cos_y] = old[:, sin_x], old[:, cos_x]
    else:  # thickness, sine and cosine of rz, tilts [y, x], angles, dose
        _, sin_z, cos_z, tilt_y, tilt_x = range(4, 9)
        old = x.clone()
        x[:, sin_z], x[:, cos_z] = old[:, cos_z], -old[:, sin_z]
        x[:, tilt_y], x[:, tilt_x] = -old[:, tilt_x], old[:, tilt_y]
    return x


@pytest.mark.parametrize("arm", ARMS)
def test_the_encoding_of_a_turned_scene_is_the_turned_encoding(arm):
    variant, scene = ARMS[arm], scenes()
    expected = encoding.network_inputs(scene, variant)
    for times in range(1, 5):
        expected = turned_channels(variant, expected)
        turned = scene.rotated(torch.full((len(scene.images),), times % 4))
        found = encoding.network_inputs(turned, variant)
        assert torch.equal(found[:, :4], expected[:, :4])
        assert torch.allclose(found, expected, atol=2e-6)


def test_a_turned_object_is_seen_by_renamed_segments():
    samples = toy_samples()
    column = torch.as_tensor(samples.potential_limited)

    def segments(image):
        """Segment s gets more electrons where the object rises towards its azimuth."""
        dy, dx = torch.gradient(image, dim=(-2, -1))
        return torch.stack([sy * dy + sx * dx for sy, sx in ((1, 1), (-1, 1), (-1, -1), (1, -1))], dim=1)

    scene = replace(scenes(), images=segments(column))
    for times in range(4):
        turned = torch.rot90(column, times, (-2, -1))
        assert torch.allclose(scene.rotated(torch.full((len(column),), times)).images, segments(turned), atol=1e-3)


def test_segments_are_renamed_as_the_detector_turns():
    axis = torch.arange(-8, 9, dtype=torch.float64)  # odd, so that a turn keeps the raster
    frequency = torch.cartesian_prod(axis, axis) * 0.1 + 1e-3 * torch.tensor([1.0, 2.0])  # off the edges
    masks = Detector(0.0, 60.0, 4).masks(frequency, 200.0)
    quarter = torch.stack([-frequency[:, 1], frequency[:, 0]], dim=1)  # (y, x) → (-x, y)
    turned = Detector(0.0, 60.0, 4).masks(quarter, 200.0)
    assert torch.equal(turned, masks.roll(1, 0))
    assert masks.any(dim=1).all()


def test_a_turned_scene_is_what_the_microscope_gives_of_the_turned_specimen():
    """Multislice of a tilted crystal on one raster, and on the same raster rotated about its middle."""
    side_px, pixel_size_a, tilt_deg = 16, 0.4, (0.5, -0.3)
    first = View(33.0, (0.7, 0.2))
    # The rotated raster begins at the far end of the first row
    corner_a = first.positions_a(side_px, pixel_size_a)[side_px - 1]
    views = first, View(first.rotation_deg + 90, tuple(corner_a.tolist()))
    computed = compute(
        crystal("GaN"),
        Probe(200.0, 20.0, 0.0, 0.0, tuple(1e3 * np.radians(tilt_deg)), 0.2),
        [Detector(10.0, 40.0, 4, -view.rotation_deg) for view in views],
        [4.0],
        MultisliceSettings(pixel_a=0.2, slice_a=2.7, field_a=7.0, phonon_configurations=0, memory_mib=512),
        torch.Generator(),
        CPU,
    )
    images, potential, rotation = [], [], []
    for index, view in enumerate(views):
        positions_a = view.positions_a(side_px, pixel_size_a)
        of_view = replace(computed.images, coefficients=computed.images.coefficients[0, 4 * index : 4 * index + 4])
        images.append(of_view.at(positions_a).unflatten(-1, (side_px, side_px)))
        potential.append(computed.potential.at(positions_a).unflatten(-1, (side_px, side_px)))
        rotation.append(torch.tensor([[view.rotation_deg, *view.to_scan(tilt_deg)]]))
    one = torch.ones(1)
    made = encoding.make_scenes(images[0][None], one, rotation[0], one == 0, one, MICROSCOPE).rotated(torch.tensor([1]))
    assert torch.allclose(made.images[0], images[1], atol=1e-6)
    assert float(images[1].std(dim=(1, 2)).min()) > 1e-3
    assert torch.allclose(made.rotation_deg, rotation[1], atol=1e-5)
    assert torch.allclose(encoding.rotate_rows(potential[0], torch.tensor([1])), potential[1], rtol=1e-4, atol=1e-3)


def test_rows_are_turned_one_by_one():
    scene = scenes()
    times = torch.arange(len(scene.images)) % 4
    mixed = scene.rotated(times)
    for count in range(4):
        alone = scene.rotated(torch.full_like(times, count))
        assert torch.equal(mixed.images[times == count], alone.images[times == count])
        assert torch.equal(mixed.rotation_deg[times == count], alone.rotation_deg[times == count])


@pytest.mark.parametrize("arm", ARMS)
def test_channels_are_as_many_as_announced_and_the_target_comes_back(arm):
    variant, scene = ARMS[arm], scenes()
    assert encoding.network_inputs(scene, variant).shape[1] == encoding.input_channels(variant)
    truth = torch.rand(len(scene.images), 2, 8, 8, dtype=torch.float64) * 3e4
    encoded = encoding.encode_potential(truth, scene.thickness_nm, variant)
    assert torch.allclose(encoding.decode_potential(encoded, scene.thickness_nm, variant), truth, rtol=1e-12)


def test_the_recipe_has_its_eleven_channels_in_its_order():
    samples = toy_samples()
    found = encoding.network_inputs(encoding.scenes_of(samples, RING, DOSE, CPU), PUBLISHED)
    angle = np.radians(samples.rotation_deg)
    expected = np.concatenate([samples.thickness_nm[:, None] / 100, np.sin(angle), np.cos(angle)], axis=1)
    assert found.shape[1] == 11
    assert np.allclose(found[:, 4:, 5, 7], expected, atol=1e-6)


@pytest.mark.parametrize("dose", [1e3, 1e6])
def test_counted_images_have_the_mean_and_the_variance_of_poisson(dose):
    scene = scenes()
    scene = replace(
        scene, images=torch.full_like(scene.images, 0.2), dose_e_per_a2=torch.full_like(scene.thickness_nm, dose)
    )
    counted = scene.counted(PIXEL_A, torch.Generator().manual_seed(0)).images
    electrons = dose * PIXEL_A**2
    assert float(counted.mean()) == pytest.approx(0.2, rel=0.01)
    assert float(counted.var()) == pytest.approx(0.2 / electrons, rel=0.02)
    assert torch.allclose((counted * electrons).round(), counted * electrons, atol=0.01)


def test_a_series_below_zero_is_counted_as_nothing():
    scene = scenes()
    scene = replace(scene, images=torch.full_like(scene.images, -1e-6))
    assert (scene.counted(PIXEL_A, torch.Generator().manual_seed(0)).images == 0).all()


def test_the_two_detectors_differ_in_scale_and_in_what_the_network_is_told():
    ring, matched = (encoding.network_inputs(scenes(name), CORRECTED) for name in (RING, MATCHED))
    assert torch.allclose(ring[:, :4], 6 * scenes(RING).images - 0.8)
    assert torch.allclose(matched[:, :4], 5 * scenes(MATCHED).images - 1.1)
    assert ring[:, 9:11, 0, 0].unique(dim=0).tolist() == [[0.5, 2.5]]
    assert matched[:, 9:11, 0, 0].unique(dim=0).tolist() == [[0.0, 1.0]]
    assert float(ring[0, 11, 0, 0]) == pytest.approx(0.5)  # log10 of the dose, less 4.5


class PerfectReader(torch.nn.Module):
    """The inverse of the toy microscope: the sum of its ring's segments is 0.6 and a fifth of the columns."""

    def forward(self, inputs):
        column = ((inputs[:, :4].sum(dim=1) + 3.2) / 6 - 0.6) / 0.2
        return column[:, None].expand(-1, 2, -1, -1)


def read(scene):
    with torch.no_grad():
        output = PerfectReader()(encoding.network_inputs(scene, CORRECTED))
    return encoding.decode_potential(output, scene.thickness_nm, CORRECTED)[:, 0]


def test_a_perfect_reader_finds_the_potential_and_metadata_of_others_images_do_not():
    samples = toy_samples()
    samples = samples.rows(samples.kind == FILLED)
    truth, scene = torch.as_tensor(samples.potential), encoding.scenes_of(samples, RING, DOSE, CPU)
    assert torch.allclose(read(scene), truth, atol=2e-4 * float(truth.max()))
    # The images of the next specimen of the same material, with everything that is known of this one
    shuffled = read(replace(scene, images=scene.images.roll(2, dims=0)))
    for measure in (lambda x: x, lambda x: high_pass(x, PIXEL_A)):
        assert pearson(measure(read(scene)), measure(truth)).min() > 0.99
        assert abs(float(pearson(measure(shuffled), measure(truth)).mean())) < 0.2


def test_metadata_alone_say_nothing_about_positions():
    samples = toy_samples()
    samples = samples.rows(samples.kind == FILLED)
    truth, scene = torch.as_tensor(samples.potential), encoding.scenes_of(samples, RING, DOSE, CPU)
    others = toy_samples(seed=1)
    means = [
        others.potential[(others.kind == FILLED) & (others.material == name)].mean(axis=0) for name in samples.material
    ]
    found = pearson(high_pass(torch.as_tensor(np.array(means)), PIXEL_A), high_pass(truth, PIXEL_A))
    assert abs(float(found.mean())) < 0.1
    blank = read(replace(scene, images=torch.full_like(scene.images, 0.15)))
    assert float(blank.std(dim=(-2, -1)).max()) < 1e-3 * float(truth.max())


def test_every_microscope_says_its_own_angles():
    wide = replace(MICROSCOPE, semiangle_mrad=40.0)
    rows = torch.ones(1)
    images = torch.zeros(1, 4, 8, 8)
    made = encoding.make_scenes(images, rows, torch.zeros(1, 3), torch.tensor([False]), rows, wide)
    assert made.ring.tolist() == [[0.25, 1.25]]
