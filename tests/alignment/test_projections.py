"""Molecules and volumes seen from random directions, against closed forms."""

import mrcfile
import numpy as np
import pytest
import torch

from tests.alignment.blobs import in_plane
from tests.alignment.molecules import mmcif_text, pdb_text, sentence
from workflow_scripts.alignment.simulation.geometry import rotate
from workflow_scripts.alignment.simulation.particles import Blobs, project, random_rotations
from workflow_scripts.alignment.simulation.sources import project_map, project_molecule, project_volume

SOME = [("C", 10.0, 2.0, 3.0), ("N", -14.5, 0.0, 12.25), ("S", 7.0, -18.0, -20.0), ("O", 1.0, 15.0, -3.0)]


def random_blobs(n, seed=0, count=30, reach=0.2):
    """A density within half of a box of n pixels of 1 Å."""
    generator = np.random.default_rng(seed)
    positions = generator.uniform(-reach * n, reach * n, (count, 3)) / np.sqrt(2)
    return Blobs(positions, generator.uniform(1.3, 2.5, count), generator.uniform(0.5, 1.5, count)).centred()


def volume_of(blobs, n):
    """The density sampled in three dimensions, (n, n, n)."""
    axis = np.arange(n) - n // 2
    along = [
        np.exp(-np.square(axis - blobs.positions_a[:, i, None]) / (2 * blobs.widths_a[:, None] ** 2)) for i in range(3)
    ]
    weights = blobs.weights / (2 * np.pi * blobs.widths_a**2) ** 1.5
    return torch.from_numpy(np.einsum("k,kz,ky,kx->zyx", weights, *along).astype(np.float32))


def saved_map(folder, values, size_a=2.0, name="some.mrc"):
    with mrcfile.new(folder / name, overwrite=True) as file:
        file.set_data(np.asarray(values))
        if values.ndim == 3:
            file.set_volume()
        file.voxel_size = size_a
    return folder / name


@pytest.mark.parametrize("n", [48, 49])
def test_a_volume_is_projected_as_well_as_stated(n):
    blobs = random_blobs(n)
    rotations = np.concatenate([np.eye(3)[None], random_rotations(8, np.random.default_rng(1))])
    images_of_volume = project_volume(volume_of(blobs, n), rotations)
    errors = []
    for image, rotation in zip(images_of_volume, rotations, strict=True):
        expected = project(blobs.rotated(rotation), n, 1.0)
        errors.append(float((image - expected).square().mean().sqrt() / expected.std()))
    assert errors[0] < 0.02 and max(errors[1:]) < 0.015 and np.mean(errors[1:]) < 0.01


def test_a_volume_turned_about_the_beam_gives_the_turned_image():
    n = 48
    images = project_volume(volume_of(random_blobs(n), n), np.stack([np.eye(3), in_plane(35.0)]))
    rotated = rotate(images[:1], torch.tensor([35.0]))[0]
    assert float((rotated - images[1]).square().mean().sqrt()) < 0.015 * float(images[1].std())


@pytest.mark.parametrize(("text", "name"), [(pdb_text(SOME), "some.pdb"), (mmcif_text(SOME), "some.cif")])
def test_a_molecule_is_centred_fits_and_is_seen_from_other_sides(tmp_path, text, name):
    path = tmp_path / name
    path.write_text(text)
    particles, again = (
        [project_molecule(path, 64, np.random.default_rng(seed), 2.0) for seed in range(4)] for _ in range(2)
    )
    axis = torch.arange(64) - 32
    for particle, same in zip(particles, again, strict=True):
        image = particle.image
        assert torch.equal(image, same.image)
        assert float(image.min()) >= 0 and float(image.std(correction=0)) == pytest.approx(1, abs=1e-5)
        assert float((image.sum(0) * axis).sum() / image.sum()) == pytest.approx(0, abs=0.01)
        assert float((image.sum(1) * axis).sum() / image.sum()) == pytest.approx(0, abs=0.01)
        assert particle.pixel_size_a == 2.0
    assert particles[0].name == "some"
    assert float((particles[0].image - particles[1].image).abs().max()) > 1


def test_the_two_formats_give_the_same_image(tmp_path):
    (tmp_path / "some.pdb").write_text(pdb_text(SOME))
    (tmp_path / "some.cif").write_text(mmcif_text(SOME))
    first, second = (
        project_molecule(tmp_path / f"some.{end}", 32, np.random.default_rng(0), 4.0) for end in ("pdb", "cif")
    )
    torch.testing.assert_close(first.image, second.image)


def test_a_molecule_that_does_not_fit_or_has_an_unknown_element_is_named(tmp_path):
    path = tmp_path / "some.pdb"
    path.write_text(pdb_text(SOME))
    assert "found a molecule of diameter" in sentence(path, project_molecule, 32, np.random.default_rng(0), 0.5)
    path.write_text(pdb_text([*SOME, ("Xx", 0, 0, 0)]))
    assert "'Xx'" in sentence(path, project_molecule, 32, np.random.default_rng(0), 4.0)


def test_a_map_keeps_its_field_of_view_in_another_box(tmp_path):
    n = 48
    blobs = random_blobs(n)
    path = saved_map(tmp_path, volume_of(blobs, n).numpy() + 3.0)
    for box in (48, 36, 64):
        image_of_map = project_map(path, box, np.random.default_rng(3))
        assert image_of_map.pixel_size_a == pytest.approx(2.0 * n / box) and image_of_map.width_ratio == pytest.approx(
            n / box
        )
        rotation = random_rotations(1, np.random.default_rng(3))[0]
        expected = project(blobs.rotated(rotation), box, n / box)
        expected = expected / expected.std(correction=0)
        # The level of 3 that was added is gone; Gaussians are broadened on the coarsest grid.
        assert float((image_of_map.image - expected).square().mean().sqrt()) < (0.02 if box >= n else 0.1), box


def test_axes_of_a_map_are_put_in_order(tmp_path):
    values = volume_of(random_blobs(32), 32).numpy()
    plain = saved_map(tmp_path, values)
    other = saved_map(tmp_path, np.ascontiguousarray(values.transpose(2, 0, 1)), name="other.mrc")
    with mrcfile.open(other, mode="r+") as file:
        # Sections run along x, rows along z, columns along y.
        file.header.maps, file.header.mapr, file.header.mapc = 1, 3, 2
    first, second = (project_map(path, 32, np.random.default_rng(0)).image for path in (plain, other))
    torch.testing.assert_close(first, second)


def test_a_bad_map_is_named_in_one_sentence(tmp_path):
    good = np.random.default_rng(0).random((16, 16, 16)).astype(np.float32)

    def message(path):
        return sentence(path, project_map, 16, np.random.default_rng(0))

    assert "no such file" in message(tmp_path / "absent.mrc")
    assert "16 × 16 × 12 values, expected a cubic volume" in message(saved_map(tmp_path, good[:, :, :12].copy()))
    assert "no numbers below" in message(saved_map(tmp_path, np.where(good > 0.99, np.nan, good)))
    corner = np.zeros_like(good)
    corner[0, 0, 0] = 1
    assert "move the density into the middle" in message(saved_map(tmp_path, corner))
    assert "no numbers below" in message(saved_map(tmp_path, 1e30 * good))
    assert "same value everywhere" in message(saved_map(tmp_path, np.ones_like(good)))
    assert "states no voxel size" in message(saved_map(tmp_path, good, size_a=0.0))
    assert "expected equal positive sides" in message(saved_map(tmp_path, good, size_a=(1.0, 1.0, 2.0)))
    assert "mode 4" in message(saved_map(tmp_path, good.astype(np.complex64)))
    path = saved_map(tmp_path, good)
    content = path.read_bytes()
    path.write_bytes(content[:-100])
    assert "its header announces" in message(path)
    path.write_bytes(content[:500])
    assert "expected an MRC file" in message(path)
    path.write_bytes(b"no map at all" * 200)
    assert "no MRC file" in message(path)
    # A header that asks for terabytes is refused before anything is read.
    path.write_bytes(np.array([8000] * 3, "<i4").tobytes() + content[12:])
    assert "its header announces" in message(path)
