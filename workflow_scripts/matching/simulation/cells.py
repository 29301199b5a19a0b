"""Which beam directions test and which train: caps that are tested, and a margin around them that nobody trains on."""

import torch
from torch import Tensor

from workflow_scripts.matching.simulation.orientations import (
    from_direction,
    gallery_directions,
    nearest_direction,
    random_rotations,
    reduced,
    rotation_from_vector,
)
from workflow_scripts.workflow.errors import InputError

TESTED = 5  # every fifth cell of beam directions is tested
CAP_DEG = 4.0  # radius of what is tested around the middle of such a cell
MARGIN_DEG = 3.0  # least angle between a tested and a trained direction
_TRIES = 20  # rounds of drawing; more mean that too little is left


def tested_middles(cells: int, symmetry: Tensor) -> Tensor:
    """Middles (T, 3) of the tested cells, of so many cells over the fundamental zone."""
    return gallery_directions(cells, symmetry)[TESTED // 2 :: TESTED]


def unseen_rotations(number: int, middles: Tensor, symmetry: Tensor, generator: torch.Generator) -> Tensor:
    """Orientations (number, 3, 3) whose beam directions are uniform in the tested caps, with any in-plane angle."""
    device = generator.device
    which = torch.randint(len(middles), (number,), generator=generator, device=device)
    # Uniform in a cap: of a small one, uniform in the square of the radius.
    random = torch.rand(number, 3, generator=generator, dtype=torch.float64, device=device)
    away = torch.deg2rad(CAP_DEG * random[:, 0].sqrt())
    azimuth, in_plane = (2 * torch.pi * random[:, axis] for axis in (1, 2))
    middle = from_direction(middles.to(device)[which])
    tilt = rotation_from_vector(away[:, None] * torch.stack([azimuth.cos(), azimuth.sin(), 0 * azimuth], dim=1))
    turn = rotation_from_vector(torch.stack([0 * in_plane, 0 * in_plane, in_plane], dim=1))
    return reduced(turn @ tilt @ middle, symmetry)


def seen_rotations(number: int, middles: Tensor, symmetry: Tensor, generator: torch.Generator) -> Tensor:
    """Orientations (number, 3, 3), uniform but for the tested caps and the margin around them.

    Raises:
        InputError: caps and margins leave hardly anything of the zone.
    """
    accepted: list[Tensor] = []
    for _ in range(_TRIES):
        if sum(map(len, accepted)) >= number:
            break
        drawn = random_rotations(number, generator)
        away = nearest_direction(drawn[:, 2], middles.to(drawn), symmetry.to(drawn))[1]
        accepted.append(reduced(drawn[away > CAP_DEG + MARGIN_DEG], symmetry))
    else:
        raise InputError("synthesize.cells: tested caps and their margins leave nothing to train on; lower it")
    return torch.cat(accepted)[:number]
