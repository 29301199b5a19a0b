"""A user's segmented images: what was measured arrives in the network's order, and every mistake is one sentence."""

import h5py
import numpy as np
import pytest
import tifffile
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.potential import toy, user_images
from workflow_scripts.formats.scan import Disc
from workflow_scripts.optics.detectors import Detector
from workflow_scripts.optics.multislice import transmission
from workflow_scripts.optics.plane_waves import Field, Probe, Specimen, images
from workflow_scripts.optics.waves import wavelength_a
from workflow_scripts.potential.apply.data import UserImages, checked_images, segment_order, segment_weights
from workflow_scripts.potential.apply.settings import Apply
from workflow_scripts.workflow.files import write_arrays
from workflow_scripts.workflow.settings import as_arguments, check, fields, nest, parse_value

DOSE = user_images.INCIDENT / user_images.PIXEL_A**2


def checked_entry(folder, **changes):
    entry = check(Apply, user_images.settings(**changes))
    paths = [folder / name for name in entry.images or ()]
    return checked_images(entry, paths, folder / entry.patterns if entry.patterns else None, user_images.MICROSCOPE)


def four_files(folder, images, ending="npy"):
    names = [f"segment{number}.{ending}" for number in range(4)]
    for name, image in zip(names, images, strict=True):
        match ending:
            case "npy":
                np.save(folder / name, image)
            case "tif":
                tifffile.imwrite(folder / name, image)
            case "h5":
                with h5py.File(folder / name, "w") as file:
                    file["entry/data"] = image
    return names


def test_counts_become_shares_of_the_beam(tmp_path):
    four_files(tmp_path, user_images.counts())
    checked, report = checked_entry(tmp_path)
    assert np.allclose(checked.shares[0], user_images.counts() / user_images.INCIDENT)
    assert checked.detector == "ring" and checked.ring_mrad == (10.0, 50.0)
    assert checked.dose_e_per_a2 == pytest.approx(DOSE)
    assert checked.thickness_nm.tolist() == [20.0] and checked.rotation_deg.tolist() == [[15.0, 0.1, -0.2]]
    assert report["share_of_beam_by_segment"] == pytest.approx(user_images.shares().mean(axis=(1, 2)), rel=0.1)


@pytest.mark.parametrize(
    "form", ["tif", "h5", "stack.npy", "stack.h5", "stack.tif", "planes.tif", "imagej.tif", "float", "offset"]
)
def test_every_form_of_the_files_gives_the_same(tmp_path, form):
    images = user_images.counts()
    four_files(tmp_path, images)
    expected = checked_entry(tmp_path)[0].shares
    changes = {}
    match form:
        case "tif" | "h5":
            changes["images"] = four_files(tmp_path, images, form)
            changes["dataset"] = "entry/data" if form == "h5" else None
        case "stack.npy":
            np.save(tmp_path / form, images)
        case "stack.h5":
            with h5py.File(tmp_path / form, "w") as file:
                file["all"] = images
            changes["dataset"] = "all"
        case "stack.tif":
            tifffile.imwrite(tmp_path / form, images, photometric="minisblack")
        case "planes.tif":
            tifffile.imwrite(tmp_path / form, images, photometric="rgb", planarconfig="separate")
        case "imagej.tif":
            tifffile.imwrite(tmp_path / form, images, imagej=True)
        case "float":
            four_files(tmp_path, images.astype(np.float32))
        case "offset":
            four_files(tmp_path, images + 7)
            changes["offset"] = 7.0
    if "." in form:
        changes["images"] = [form]
    assert np.array_equal(checked_entry(tmp_path, **changes)[0].shares, expected)


@given(st.integers(-4, 8), st.booleans())
def test_segments_are_renamed_by_where_their_middle_lies(turns, clockwise):
    """The middle azimuth of the user's image k is 45° past its first edge, in the direction of counting."""
    step = -90 if clockwise else 90
    middles = [(90 * turns + step * (k + 0.5)) % 360 for k in range(4)]
    order = segment_order(90.0 * turns, clockwise)
    assert [middles[k] for k in order] == [45, 135, 225, 315]


@pytest.mark.parametrize(("azimuth", "clockwise"), [(90.0, False), (-180.0, False), (270.0, True), (0.0, True)])
def test_images_of_a_rotated_or_mirrored_detector_arrive_in_the_networks_order(tmp_path, azimuth, clockwise):
    images = user_images.counts()
    four_files(tmp_path, images)
    expected = checked_entry(tmp_path)[0].shares
    order = segment_order(azimuth, clockwise)
    rotated = np.empty_like(images)
    rotated[order] = images
    four_files(tmp_path, rotated)
    found = checked_entry(tmp_path, segment_azimuth_deg=azimuth, clockwise=clockwise)[0].shares
    assert np.array_equal(found, expected)
    assert not np.array_equal(checked_entry(tmp_path)[0].shares, expected)


def test_the_beam_is_stated_in_three_ways(tmp_path):
    four_files(tmp_path, user_images.counts())
    expected = checked_entry(tmp_path)[0]
    for changes in (
        {"counts_per_electron": None, "dose_e_per_a2": DOSE},
        {"incident": None, "dose_e_per_a2": DOSE},
    ):
        found = checked_entry(tmp_path, **changes)[0]
        assert found.dose_e_per_a2 == pytest.approx(expected.dose_e_per_a2)
        assert np.allclose(found.shares, expected.shares)
    analog = checked_entry(tmp_path, incident=4 * user_images.INCIDENT, counts_per_electron=4.0)[0]
    assert analog.dose_e_per_a2 == pytest.approx(DOSE)


ONLY_DOSE = dict.fromkeys(
    ("pixel_size_a", "thickness_nm", "rotation_deg", "voltage_kv", "semiangle_mrad", "ring_mrad", "incident")
) | {"counts_per_electron": None, "dose_e_per_a2": 1e5, "images": ["samples.npz"]}


def test_a_file_of_samples_brings_its_metadata(tmp_path):
    samples = toy.toy_samples(per_material=1)
    np.savez(tmp_path / "samples.npz", **samples.arrays())
    checked, _ = checked_entry(tmp_path, **ONLY_DOSE)
    assert np.allclose(checked.shares, samples.images["ring"])
    assert checked.pixel_size_a == toy.PIXEL_A and checked.detector == "ring"
    assert np.array_equal(checked.thickness_nm, samples.thickness_nm)
    assert np.array_equal(checked.rotation_deg, samples.rotation_deg)
    matched, _ = checked_entry(tmp_path, **ONLY_DOSE | {"dataset": "input_matched"})
    assert np.allclose(matched.shares, samples.images["matched"]) and matched.detector == "matched"
    write_arrays(tmp_path / "images.npz", matched.arrays())
    back = vars(UserImages.read(tmp_path / "images.npz"))
    for name, value in vars(matched).items():
        assert np.array_equal(back[name], value) and type(back[name]) is type(value), name


def test_what_the_user_states_wins_over_the_file(tmp_path):
    np.savez(tmp_path / "samples.npz", **toy.toy_samples(per_material=1).arrays())
    changes = {"pixel_size_a": 0.25, "thickness_nm": 33.0, "rotation_deg": [1.0, 2.0, 3.0], "ring_mrad": [0.0, 20.0]}
    checked, _ = checked_entry(tmp_path, **ONLY_DOSE | changes)
    assert checked.pixel_size_a == 0.25 and checked.detector == "matched"
    assert set(checked.thickness_nm) == {33.0} and (checked.rotation_deg == [1.0, 2.0, 3.0]).all()


def test_one_sample_as_the_recipe_writes_it(tmp_path):
    images = user_images.shares().astype(np.float16)
    about = {"sampling": np.array([0.1, 0.1]), "thickness_nm": 40, "rotation": np.array([10.0, 0.1, 0.2])}
    np.savez(tmp_path / "samples.npz", input=images, **about, material="GaN")
    checked, _ = checked_entry(
        tmp_path, **ONLY_DOSE | {"voltage_kv": 200.0, "semiangle_mrad": 20.0, "ring_mrad": [10.0, 50.0]}
    )
    assert np.allclose(checked.shares[0], images) and checked.pixel_size_a == 0.1
    assert checked.thickness_nm.tolist() == [40.0] and checked.rotation_deg.tolist() == [[10.0, 0.1, 0.2]]


RASTER, DETECTOR = (16, 18), (60, 64)
CENTER, RADIUS = (29.3, 31.8), 10.0
FOUR_D = {
    **{"images": None, "patterns": "scan.npy", "ring_mrad": [10.0, 50.0], "incident": None},
    **{"center_px": list(CENTER), "disc_radius_px": RADIUS},
}


def recorded(azimuth_deg=0.0, clockwise=False):
    """Patterns (16, 18, 60, 64): a disc, and 40 counts where a scatterer sends them: azimuth 90 s + 45°, 30 mrad."""
    y, x = np.indices(DETECTOR, dtype=float)
    disc = 5.0 * (np.hypot(y - CENTER[0], x - CENTER[1]) <= RADIUS)
    stack = np.broadcast_to(disc, (*RASTER, *DETECTOR)).copy()
    for row in range(RASTER[0]):
        for column in range(RASTER[1]):
            azimuth = np.radians(90 * ((row + column) % 4) + 45 - azimuth_deg) * (-1 if clockwise else 1)
            where = CENTER[0] + 1.5 * RADIUS * np.cos(azimuth), CENTER[1] + 1.5 * RADIUS * np.sin(azimuth)
            stack[row, column, round(where[0]), round(where[1])] += 40.0
    return stack


@pytest.mark.parametrize(("azimuth", "clockwise"), [(0.0, False), (30.0, False), (200.0, True), (0.0, True)])
def test_a_4d_scan_is_integrated_over_quadrants_of_the_ring(tmp_path, azimuth, clockwise):
    np.save(tmp_path / "scan.npy", recorded(azimuth, clockwise))
    checked, report = checked_entry(tmp_path, **FOUR_D, segment_azimuth_deg=azimuth, clockwise=clockwise)
    assert checked.shares.shape == (1, 4, *RASTER)
    total = recorded()[0, 0].sum()
    base = np.median(checked.shares[0], axis=(1, 2))
    expected = (np.add.outer(np.arange(RASTER[0]), np.arange(RASTER[1])) % 4) == np.arange(4)[:, None, None]
    assert np.allclose(checked.shares[0] - base[:, None, None], expected * 40 / total, atol=1e-6)
    assert report["incident"] == pytest.approx(total)
    assert checked.dose_e_per_a2 == pytest.approx(total / user_images.PIXEL_A**2)


def test_the_disc_of_a_4d_scan_is_found_and_other_forms_give_the_same(tmp_path):
    stack = recorded()
    np.save(tmp_path / "scan.npy", stack)
    given_disc = checked_entry(tmp_path, **FOUR_D)[0]
    found, report = checked_entry(tmp_path, **FOUR_D | {"center_px": None, "disc_radius_px": None})
    assert report["disc"]["center_px"] == pytest.approx(CENTER, abs=0.3)
    assert report["disc"]["radius_px"] == pytest.approx(RADIUS, abs=0.2)
    assert np.abs(found.shares - given_disc.shares).max() < 0.02
    np.save(tmp_path / "flat.npy", stack.reshape(-1, *DETECTOR))
    with h5py.File(tmp_path / "scan.h5", "w") as file:
        file["data"] = stack.astype(np.uint16)
    flat = checked_entry(tmp_path, **FOUR_D | {"patterns": "flat.npy", "scan_shape": list(RASTER)})[0]
    other = checked_entry(tmp_path, **FOUR_D | {"patterns": "scan.h5", "dataset": "data"})[0]
    assert np.array_equal(flat.shares, given_disc.shares) and np.array_equal(other.shares, given_disc.shares)
    matched = checked_entry(tmp_path, **FOUR_D | {"ring_mrad": None})[0]
    assert matched.detector == "matched" and matched.shares.mean(axis=(0, 2, 3)).sum() > 0.8


def test_the_quadrants_share_the_ring_by_area():
    entry = check(Apply, user_images.settings(**FOUR_D, segment_azimuth_deg=17.0))
    weights = segment_weights(DETECTOR, Disc(CENTER, RADIUS), 20.0, (10.0, 50.0), entry)
    area = np.pi * RADIUS**2 * (2.5**2 - 0.5**2) / 4
    assert weights.sum(axis=(1, 2)) == pytest.approx([area] * 4, rel=0.01)
    assert weights.sum(axis=0).max() == pytest.approx(1.0)


def test_every_setting_of_an_entry_goes_through_a_command_line():
    for entry in (user_images.settings(segment_azimuth_deg=90.0), user_images.settings(**FOUR_D)):
        settings = check(Apply, entry)
        words = as_arguments(settings)
        found = dict(word.split("=") if "=" in word else [word, words[k + 1]] for k, word in enumerate(words[:-1]))
        values = {key: parse_value(field, found["--" + key.replace("_", "-")]) for key, field in fields(Apply)}
        assert check(Apply, nest(values)) == settings


TURNS = {
    "as the scan": (lambda patterns: patterns, (40.0, 40.0), 0.0, False),
    # An azimuth of the record is that of the scan and 90° more, or 90° less that of the scan
    "rotated": (lambda patterns: np.rot90(patterns, 1, (-2, -1)), (39.0, 40.0), -90.0, False),
    "transposed": (lambda patterns: patterns.swapaxes(-2, -1), (40.0, 40.0), 90.0, True),
}


@pytest.mark.parametrize("record", TURNS)
def test_a_scan_of_a_known_specimen_gives_the_images_that_the_network_is_trained_on(tmp_path, record):
    """Patterns of single probes, integrated here, against the segmented images of the plane-wave engine."""
    n, pixel_a, kilovolt, semiangle = 80, 0.16, 200.0, 20.0
    y, x = np.indices((n, n)) * 2 * np.pi / n
    potential = 150 * (np.cos(3 * y) + np.sin(2 * x + 4 * y) + np.cos(5 * x - 2 * y + 1))
    through = transmission(torch.from_numpy(potential), pixel_a, kilovolt)
    positions = torch.cartesian_prod(*[0.25 * torch.arange(16, dtype=torch.float64)] * 2)
    frequency = torch.cartesian_prod(*[torch.fft.fftfreq(n, pixel_a, dtype=torch.float64)] * 2)
    aperture = (frequency.norm(dim=1) * wavelength_a(kilovolt) * 1e3 <= semiangle).double()
    probes = aperture * torch.exp(-2j * torch.pi * (positions @ frequency.T)) / aperture.sum().sqrt()
    waves = torch.fft.fft2(torch.fft.ifft2(probes.reshape(-1, n, n)) * through)
    patterns = torch.fft.fftshift(waves.abs().square(), dim=(-2, -1)).reshape(16, 16, n, n).numpy()

    turn, center, azimuth, clockwise = TURNS[record]
    np.save(tmp_path / "scan.npy", turn(patterns))
    mrad_per_px = 1e3 * wavelength_a(kilovolt) / (n * pixel_a)
    checked, _ = checked_entry(
        tmp_path,
        **FOUR_D
        | {"center_px": list(center), "disc_radius_px": semiangle / mrad_per_px, "incident": 1.0}
        | {"segment_azimuth_deg": azimuth, "clockwise": clockwise, "counts_per_electron": None, "dose_e_per_a2": 1e5},
    )
    specimen = Specimen(through[None].to(torch.complex64), [1.0], [1])
    probe, detector = Probe(kilovolt, semiangle), Detector(10.0, 50.0, segments=4)
    expected = images(specimen, Field((n, n), pixel_a), probe, [detector]).at(positions)[0].reshape(4, 16, 16).numpy()
    assert expected.std(axis=(1, 2)).min() > 0.01
    for segment in range(4):
        like = [np.corrcoef(checked.shares[0, segment].ravel(), other.ravel())[0, 1] for other in expected]
        # The pixels of the detector are cut by the segments' edges here, and belong to one of them there
        assert int(np.argmax(like)) == segment and like[segment] > 0.98, like
    assert checked.shares[0].mean(axis=(1, 2)) == pytest.approx(expected.mean(axis=(1, 2)), abs=0.02)
