"""Split of the beam directions: caps for the test, an empty margin around them, and the training directions."""

import torch
from torch import Tensor

from workflow_scripts.matching.simulation import orientations
from workflow_scripts.workflow.errors import InputError

TESTED = 5  # every fifth cell of beam directions is for the test
CAP_DEG = 4.0  # radius of the tested cap around the middle of such a cell
MARGIN_DEG = 3.0  # least angle between a tested and a trained direction
_TRIES = 20  # rounds of drawing; if more are needed, too few directions are left for training


def tested_middles(cells: int, symmetry: Tensor) -> Tensor:
    """Middles (T, 3) of the tested cells, every fifth of all cells of the fundamental zone."""
    return orientations.gallery_directions(cells, symmetry)[TESTED // 2 :: TESTED]


def unseen_rotations(number: int, middles: Tensor, symmetry: Tensor, generator: torch.Generator) -> Tensor:
    """Orientations (number, 3, 3) whose beam directions are uniform in the tested caps, with any in-plane angle."""
    cell = torch.randint(len(middles), (number,), generator=generator)
    # Uniform in a cap: of a small one, uniform in the square of the radius.
    random = torch.rand(number, 3, generator=generator, dtype=torch.float64)
    away = torch.deg2rad(CAP_DEG * random[:, 0].sqrt())
    azimuth, in_plane = (2 * torch.pi * random[:, axis] for axis in (1, 2))
    middle = orientations.from_direction(middles[cell])
    axis = torch.stack([azimuth.cos(), azimuth.sin(), 0 * azimuth], dim=1)
    tilt = orientations.rotation_from_vector(away[:, None] * axis)
    turn = orientations.rotation_from_vector(torch.stack([0 * in_plane, 0 * in_plane, in_plane], dim=1))
    return orientations.reduced(turn @ tilt @ middle, symmetry)


def seen_rotations(number: int, middles: Tensor, symmetry: Tensor, generator: torch.Generator) -> Tensor:
    """Orientations (number, 3, 3), uniform but for the tested caps and the margin around them.

    Raises:
        InputError: caps and margins cover nearly all of the zone.
    """
    accepted: list[Tensor] = []
    for _ in range(_TRIES):
        if sum(map(len, accepted)) >= number:
            break
        drawn = orientations.random_rotations(number, generator)
        away_deg, _, _ = orientations.nearest_direction(drawn[:, 2].numpy(), middles.numpy(), symmetry.numpy())
        accepted.append(orientations.reduced(drawn[torch.from_numpy(away_deg > CAP_DEG + MARGIN_DEG)], symmetry))
    else:
        raise InputError("synthesize.cells: tested caps and their margins leave nothing to train on; lower cells")
    return torch.cat(accepted)[:number]
