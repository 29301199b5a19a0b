"""Templates of the user's crystal as the user's camera records it, and the score below which nothing is indexed."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from workflow_scripts.matching.apply.data import Layout, on_grid
from workflow_scripts.matching.apply.settings import Apply
from workflow_scripts.matching.networks.retrieval import Estimator, Gallery, predict_batches
from workflow_scripts.matching.settings import DiffractionSettings, ObservationSettings
from workflow_scripts.matching.simulation.crystals import Crystal
from workflow_scripts.matching.simulation.kinematic import Simulator
from workflow_scripts.matching.simulation.observed import counts, draw, expected
from workflow_scripts.matching.simulation.orientations import from_direction, gallery_directions
from workflow_scripts.matching.simulation.structure_factors import laue_rotations
from workflow_scripts.workflow.errors import InputError

_BACKGROUNDS, _BELOW = 200, 0.95


@dataclass(frozen=True)
class Templates:
    """Calculated patterns of the user's crystal on the network's grid.

    patterns: (G, n, n). gallery: their orientations. symmetry: float64 (S, 3, 3).
    simulator: of the crystal, on that grid. beam_stop_px: radius that is left out of patterns, px of the grid.
    """

    patterns: Tensor
    gallery: Gallery
    symmetry: np.ndarray
    simulator: Simulator
    beam_stop_px: float


def templates(
    settings: Apply, crystal: Crystal, recorded: Layout, study: DiffractionSettings, device: torch.device
) -> Templates:
    """The templates of a crystal as the user's camera records it.

    Args:
        settings: the entry of the configuration.
        crystal: the user's.
        recorded: position of the patterns on the detector.
        study: settings of the study: the network's grid, and defaults for values that the entry leaves out.
        device: where patterns are made.

    Raises:
        InputError: no reflection of the crystal falls on the detector.
    """
    # The pattern's circle fills the grid
    changes = {
        "pixel_size_per_a": settings.pixel_size_per_a * recorded.radius_px / study.centre_px,
        "voltage_kv": settings.voltage_kv or study.voltage_kv,
        "thickness_nm": settings.thickness_nm or study.thickness_nm,
    }
    diffraction = study.model_copy(update=changes)
    try:
        simulator = Simulator(crystal, diffraction, device)
    except ValueError as error:
        raise InputError(f"crystal: {settings.crystal}: {error}; check pixel_size_per_a and the cell") from None
    symmetry = laue_rotations(crystal)
    rotation = from_direction(gallery_directions(settings.gallery, symmetry))
    patterns = simulator.patterns(rotation)
    middle = diffraction.centre_px
    stop_px = settings.beam_stop_px * middle / recorded.radius_px
    patterns = on_grid(patterns.cpu(), (middle, middle), middle, stop_px, diffraction.side_px).to(device)
    if not bool((patterns.sum(dim=(1, 2)) > 0).any()):
        raise InputError(
            f"crystal: {settings.crystal} has no reflection between beam_stop_px and the rim of the patterns;"
            " check pixel_size_per_a"
        )
    gallery = Gallery.of(rotation.numpy(), symmetry.numpy(), device)
    return Templates(patterns, gallery, symmetry.numpy(), simulator, stop_px)


def background_score(
    estimator: Estimator, calculated: Templates, ranges: ObservationSettings, electrons: float, seed: int
) -> float:
    """The 95th percentile of the scores of simulated backgrounds without a crystal.

    Args:
        calculated: the templates to compare with.
        ranges: halo, rings and beam stop of the study's observed patterns.
        electrons: in each background.
        seed: of backgrounds and counts.
    """
    generator = torch.Generator().manual_seed(seed)
    observation = draw(ranges, calculated.simulator.diffraction, _BACKGROUNDS, generator)
    rotation = torch.eye(3, dtype=torch.float64).expand(_BACKGROUNDS, 3, 3)
    background = expected(calculated.simulator, rotation, observation).background.cpu()
    patterns = counts(background, background, electrons, 0.0, generator)
    grid = calculated.simulator.diffraction
    middle = grid.centre_px
    patterns = on_grid(patterns, (middle, middle), middle, calculated.beam_stop_px, grid.side_px)
    score = predict_batches([patterns], estimator, calculated.gallery, 1).score
    return float(np.quantile(score[:, 0].numpy(), _BELOW))
