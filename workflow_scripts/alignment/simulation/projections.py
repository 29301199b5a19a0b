"""Molecules and volumes seen from random directions.

Atoms are summed in closed form. A volume is projected by a slice through its Fourier transform, which is computed on
a grid twice as fine, corrected for what trilinear interpolation does to it, and read by that.
"""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import grid_sample

from workflow_scripts.alignment.simulation.grids import fade_out, read_mrc, resampled
from workflow_scripts.alignment.simulation.particles import Blobs, Particle, particle, project, random_rotations
from workflow_scripts.formats.pdb import Atoms, read_atoms
from workflow_scripts.optics.kirkland import scattering_factor_a
from workflow_scripts.workflow.errors import InputError

_ATOM_WIDTH_A = 0.7  # √(B / 8π²) for B = 40 Å², as in a well-resolved map
_FILLED = 0.6  # of the box's side, by the diameter of a molecule
_PADDING = 2


def atom_blobs(atoms: Atoms, path: Path) -> Blobs:
    """A molecule as Gaussians that weigh as its atoms scatter electrons forward; its centre of mass in the origin.

    The water around it is left out: at low resolution a real particle has less contrast.

    Raises:
        InputError: an element whose scattering factor is unknown.
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


def project_molecule(
    path: Path, n: int, count: int, generator: np.random.Generator, pixel_size_a: float | None = None
) -> list[Particle]:
    """Images of a .pdb or mmCIF molecule at orientations that are uniform on SO(3).

    Args:
        path: as for `read_atoms`.
        n: pixels along each side.
        count: orientations.
        generator: the only source of randomness.
        pixel_size_a: Å per pixel; None makes the molecule's diameter 60 % of the box.

    Raises:
        InputError: the file cannot be used, or the molecule does not fit into the box.
    """
    blobs = atom_blobs(read_atoms(path), path)
    radius_a = float(np.linalg.norm(blobs.positions_a, axis=1).max()) + 2 * _ATOM_WIDTH_A
    size_a = 2 * radius_a / (_FILLED * n) if pixel_size_a is None else pixel_size_a
    if radius_a > (n // 2) * size_a:
        raise InputError(
            f"{path}: found a molecule of diameter {2 * radius_a:.4g} Å, expected at most the {n * size_a:.4g} Å of "
            f"the box; use pixels of at least {2 * radius_a / (_FILLED * n):.3g} Å"
        )
    return [
        particle(f"{Path(path).stem}_{index}", project(blobs.rotated(rotation), n, size_a), size_a)
        for index, rotation in enumerate(random_rotations(count, generator))
    ]


def project_map(
    path: Path, n: int, count: int, generator: np.random.Generator, voxel_size_a: float | None = None
) -> list[Particle]:
    """Images of an .mrc volume at orientations that are uniform on SO(3), in a box of n pixels.

    Args:
        path: a cubic volume of any size, bright inside; the level of its rim is subtracted.
        n: pixels along each side: same field of view, other sampling.
        count: orientations.
        generator: the only source of randomness.
        voxel_size_a: Å per voxel of the file; None takes what its header says.

    Raises:
        InputError: the file cannot be used, or does not say its voxel size.
    """
    path = Path(path)
    volume, stated_a = read_mrc(path, 3)
    size_a = stated_a if voxel_size_a is None else voxel_size_a
    if not size_a > 0:
        raise InputError(f"{path}: the file does not say its voxel size; give it in Å")
    ratio = volume.shape[-1] / n
    images = project_volume(resampled(fade_out(volume), n), random_rotations(count, generator))
    try:
        return [
            particle(f"{path.stem}_{index}", image, size_a * ratio, width_ratio=ratio)
            for index, image in enumerate(images)
        ]
    except ValueError as error:
        raise InputError(f"{path}: {error} when projected; move the density into the middle of the volume") from None


def project_volume(volume: Tensor, rotations: np.ndarray) -> Tensor:
    """Sums along z of a volume turned by rotations: slices through its Fourier transform.

    The error is 1 % (RMS, of the image's standard deviation) for a density that fills half of the box's width, 2.5 %
    for two thirds; twice as much where the beam runs along an axis of the grid. It grows smoothly towards the rim.

    Args:
        volume: (n, n, n) [z, y, x], 0 outside the inscribed ball.
        rotations: (N, 3, 3), acting on [z, y, x].

    Returns:
        float32 (N, n, n) [y, x].
    """
    n = volume.shape[-1]
    fine = _PADDING * n
    # The transform of a triangle is sinc²: what interpolation in the spectrum multiplies the volume with.
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
        # The transform turns with the density; grid_sample wants [x, y, z] in units of the half side.
        index = slice_zyx @ rotation * _PADDING + fine // 2
        grid = (2 * index / (fine - 1) - 1).flip(-1)[None]
        real, imaginary = grid_sample(channels, grid, align_corners=True)[0, :, 0]
        half = torch.fft.ifftshift(torch.complex(real, imaginary), dim=0)
        images.append(torch.fft.fftshift(torch.fft.irfft2(half, s=(n, n))))
    return torch.stack(images)
