"""Particles from files: class averages as images, molecules and volumes seen from random directions.

Atoms are summed in closed form. A volume is projected as a central slice through its Fourier transform, which is
sampled twice as finely as the discrete one and interpolated trilinearly; the volume is divided beforehand by the
falloff that this interpolation causes.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import grid_sample

from workflow_scripts.alignment.simulation.grids import fade_out, resampled
from workflow_scripts.alignment.simulation.particles import Blobs, Particle, particle, project, random_rotations
from workflow_scripts.formats.endings import CIF, MRC, PDB, PNG, TIFF, has_ending, without_ending
from workflow_scripts.formats.images import read_grey_picture
from workflow_scripts.formats.mrc import is_volume, read_mrc
from workflow_scripts.formats.pdb import Atoms, read_atoms
from workflow_scripts.optics.kirkland import scattering_factor_a
from workflow_scripts.workflow.errors import InputError

_ATOM_WIDTH_A = 0.7  # √(B / 8π²) for B = 40 Å², as in a well-resolved map
_FILLED = 0.6  # recommended diameter of a molecule, as a fraction of the side of the box
_PADDING = 2
_IMAGES = PNG + TIFF + MRC
_SMALLEST_PX = 16


def atom_blobs(atoms: Atoms, path: Path) -> Blobs:
    """A molecule as Gaussians, weighted by the forward scattering factors of its atoms; its centre of mass is at 0.

    The surrounding water is neglected; because of it a real particle has less contrast at low resolution.

    Raises:
        InputError: the scattering factor of an element is unknown.
    """
    weight = {}
    for symbol in sorted(set(atoms.symbols.tolist())):
        try:
            weight[symbol] = float(scattering_factor_a(symbol, torch.zeros(1)))
        except (KeyError, ValueError):
            raise InputError(
                f"{path}: found the element {symbol!r}, expected one from H to Lr; correct the atom"
            ) from None
    weights = np.array([weight[symbol] for symbol in atoms.symbols.tolist()])
    return Blobs(atoms.positions_a, np.full(len(weights), _ATOM_WIDTH_A), weights).centred()


def project_molecule(path: Path, n: int, generator: np.random.Generator, pixel_size_a: float) -> Particle:
    """Projection of a .pdb or mmCIF molecule at a random orientation, uniform on SO(3).

    Args:
        path: as for `read_atoms`.
        n: pixels along each side.
        generator: the only source of randomness.
        pixel_size_a: Å per pixel.

    Raises:
        InputError: the file cannot be used, or the molecule does not fit into the box.
    """
    blobs = atom_blobs(read_atoms(path), path)
    radius_a = float(np.linalg.norm(blobs.positions_a, axis=1).max()) + 2 * _ATOM_WIDTH_A
    if radius_a > (n // 2) * pixel_size_a:
        raise InputError(
            f"{path}: found a molecule of diameter {2 * radius_a:.4g} Å, expected at most the {n * pixel_size_a:.4g} Å"
            f" of the box; use pixels of at least {2 * radius_a / (_FILLED * n):.3g} Å"
        )
    rotated = blobs.rotated(random_rotations(1, generator)[0])
    return particle(without_ending(path), project(rotated, n, pixel_size_a), pixel_size_a)


def project_map(path: Path, n: int, generator: np.random.Generator) -> Particle:
    """Projection of an .mrc volume at a random orientation, uniform on SO(3), in a box of n pixels.

    Args:
        path: a cubic volume of any size, density bright, whose header states its voxel size; the level of its rim is
            subtracted.
        n: pixels along each side; the volume is resampled, and the field of view stays the same.
        generator: the only source of randomness.

    Raises:
        InputError: the file cannot be used, or does not state its voxel size.
    """
    volume, voxel_size_a = read_mrc(path, 3)
    if not voxel_size_a > 0:
        raise InputError(f"{path}: the header states no voxel size; correct it")
    ratio = volume.shape[-1] / n
    (image,) = project_volume(resampled(fade_out(torch.from_numpy(volume)), n), random_rotations(1, generator))
    try:
        return particle(without_ending(path), image, voxel_size_a * ratio, width_ratio=ratio)
    except ValueError as error:
        raise InputError(f"{path}: {error} when projected; move the density into the middle of the volume") from None


def project_volume(volume: Tensor, rotations: np.ndarray) -> Tensor:
    """Projections along z of a volume under rotations: central slices through its Fourier transform.

    The RMS error is 1 % of the image's standard deviation for a density that fills half of the box's width, 2.5 % for
    two thirds; it doubles where the beam runs along an axis of the grid. It grows smoothly towards the rim.

    Args:
        volume: (n, n, n) [z, y, x], 0 outside the inscribed ball.
        rotations: (N, 3, 3), acting on [z, y, x].

    Returns:
        float32 (N, n, n) [y, x].
    """
    n = volume.shape[-1]
    fine = _PADDING * n
    # Linear interpolation in the spectrum multiplies the volume by sinc², the transform of a triangle.
    falloff = torch.sinc((torch.arange(n) - n // 2) / fine).square()
    corrected = volume / (falloff[:, None, None] * falloff[:, None] * falloff)
    before = fine // 2 - n // 2
    padded = torch.nn.functional.pad(corrected, (before, fine - n - before) * 3)
    spectrum = torch.fft.fftshift(torch.fft.fftn(torch.fft.ifftshift(padded)))
    channels = torch.view_as_real(spectrum).permute(3, 0, 1, 2)[None]  # (1, 2, fine, fine, fine)
    rows, columns = torch.arange(n) - n // 2, torch.arange(n // 2 + 1)
    slice_zyx = torch.stack(torch.meshgrid(torch.zeros(1), rows.float(), columns.float(), indexing="ij"), dim=-1)
    images = []
    for rotation in torch.from_numpy(np.asarray(rotations, dtype=np.float32)):
        # The transform rotates with the density; grid_sample wants [x, y, z] in units of the half side.
        index = slice_zyx @ rotation * _PADDING + fine // 2
        grid = (2 * index / (fine - 1) - 1).flip(-1)[None]
        real, imaginary = grid_sample(channels, grid, align_corners=True)[0, :, 0]
        half = torch.fft.ifftshift(torch.complex(real, imaginary), dim=0)
        images.append(torch.fft.fftshift(torch.fft.irfft2(half, s=(n, n))))
    return torch.stack(images)


def read_class_average(path: Path, n: int, pixel_size_a: float | None = None, dark_on_light: bool = False) -> Particle:
    """A class average as a particle, resampled to a box of n pixels with the same field of view.

    The level of the rim is subtracted, and everything outside the inscribed circle is faded out.

    Args:
        path: .png, .tif or .mrc of a square image of any size.
        n: pixels along each side of the particle's image.
        pixel_size_a: Å per pixel of the file; None reads it from an .mrc header. The pixel size of the particle is this
            times the width of the file / n.
        dark_on_light: the particle is dark in the file; the sign is inverted.

    Raises:
        InputError: no such image, not square, too small, constant, not finite, or of unknown pixel size.
    """
    if not has_ending(path, _IMAGES):
        raise InputError(f"{path}: found the ending {path.suffix!r}, expected one of {', '.join(_IMAGES)}")
    pixels, stated_a = read_mrc(path, 2) if has_ending(path, MRC) else (_picture(path), 0.0)
    image, width = torch.from_numpy(pixels), pixels.shape[-1]
    if width < _SMALLEST_PX:
        raise InputError(
            f"{path}: found {width} × {width} px, expected at least {_SMALLEST_PX} a side; use a larger one"
        )
    size_a = stated_a if pixel_size_a is None else pixel_size_a
    if not size_a > 0:
        raise InputError(f"{path}: the header states no pixel size; correct it")
    cleared = resampled(fade_out(-image if dark_on_light else image), n)
    try:
        return particle(without_ending(path), cleared, size_a * width / n, width_ratio=width / n)
    except ValueError as error:
        raise InputError(f"{path}: {error}; replace the file") from None


def _picture(path: Path) -> np.ndarray:
    """A .png or .tif as float32 (n, n)."""
    grey = read_grey_picture(path)
    if grey.shape[0] != grey.shape[1]:
        raise InputError(f"{path}: found an array of shape {grey.shape}, expected one square grey image; cut it out")
    return grey


def read_particle(path: Path, n: int, pixel_size_a: float, dark_on_light: bool, rng: np.random.Generator) -> Particle:
    """A particle from any supported file in a box of n pixels; molecules and volumes are randomly oriented.

    Args:
        path: .pdb, .cif, .mrc, .png or .tif.
        n: pixels along each side.
        pixel_size_a: Å per pixel of the box, for files without a pixel size (molecules, .png, .tif).
        dark_on_light: the particle is dark in the image.
        rng: the only source of randomness.
    """
    if has_ending(path, PDB + CIF):
        return project_molecule(path, n, rng, pixel_size_a)
    if has_ending(path, MRC):
        return (
            project_map(path, n, rng) if is_volume(path) else read_class_average(path, n, dark_on_light=dark_on_light)
        )
    return replace(read_class_average(path, n, 1.0, dark_on_light), pixel_size_a=pixel_size_a)
