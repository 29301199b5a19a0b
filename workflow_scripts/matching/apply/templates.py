"""Orientations of the user's patterns: a gallery of the user's crystal, answers in batches, what is not indexed."""

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from workflow_scripts.matching.apply.data import Layout, on_grid
from workflow_scripts.matching.apply.settings import Apply
from workflow_scripts.matching.networks.retrieval import Answers, Estimator, Gallery, answer
from workflow_scripts.matching.settings import DiffractionSettings
from workflow_scripts.matching.simulation.crystals import Crystal
from workflow_scripts.matching.simulation.datasets import diffraction_of
from workflow_scripts.matching.simulation.kinematic import Diffraction, Simulator
from workflow_scripts.matching.simulation.observed import ObservationRanges, counts, draw, expected
from workflow_scripts.matching.simulation.orientations import from_direction, gallery_directions, misorientation_deg
from workflow_scripts.matching.simulation.structure_factors import laue_rotations
from workflow_scripts.workflow.errors import InputError

_BACKGROUNDS, _BELOW = 200, 0.95
SAME_DEG = 3.0  # two estimators agree where their first answers are no farther apart


@dataclass(frozen=True)
class Templates:
    """Calculated patterns of the user's crystal on the network's grid.

    patterns: (G, n, n). rotation: (G, 3, 3) at in-plane angle 0. symmetry: (S, 3, 3).
    simulator: of the crystal, on that grid. beam_stop_px: what is left out of patterns, px of the grid.
    """

    patterns: Tensor
    rotation: Tensor
    symmetry: Tensor
    simulator: Simulator
    beam_stop_px: float

    def gallery(self, device: torch.device) -> Gallery:
        """As answers are read from it."""
        return Gallery.of(self.rotation.numpy(), self.symmetry.numpy(), device)


def templates(
    settings: Apply, crystal: Crystal, recorded: Layout, study: DiffractionSettings, device: torch.device
) -> Templates:
    """The gallery of a crystal as the user's camera sees it.

    Args:
        settings: the entry of the configuration.
        crystal: the user's.
        recorded: how the patterns lie on the detector.
        study: the network's grid, and what the entry leaves open.
        device: where patterns are made.

    Raises:
        InputError: the camera sees no reflection of the crystal.
    """
    diffraction = _on_the_grid(settings, recorded, study)
    try:
        simulator = Simulator(crystal, diffraction, device)
    except ValueError as error:
        raise InputError(f"crystal: {settings.crystal}: {error}; check pixel_size_per_a and the cell") from None
    symmetry = laue_rotations(crystal)
    rotation = from_direction(gallery_directions(settings.gallery, symmetry))
    patterns = simulator.patterns(rotation)
    middle = (diffraction.side_px - 1) / 2
    stop_px = settings.beam_stop_px * middle / recorded.radius_px
    patterns = on_grid(patterns.cpu(), (middle, middle), middle, stop_px, diffraction.side_px).to(device)
    if not bool((patterns.sum(dim=(1, 2)) > 0).any()):
        raise InputError(
            f"crystal: {settings.crystal} has no reflection between beam_stop_px and the rim of the patterns;"
            " check pixel_size_per_a"
        )
    return Templates(patterns, rotation, symmetry, simulator, stop_px)


def _on_the_grid(settings: Apply, recorded: Layout, study: DiffractionSettings) -> Diffraction:
    base = diffraction_of(study)
    pixel = settings.pixel_size_per_a * recorded.radius_px / ((base.side_px - 1) / 2)
    return replace(
        base,
        pixel_size_per_a=pixel,
        voltage_kv=settings.voltage_kv or base.voltage_kv,
        thickness_nm=settings.thickness_nm or base.thickness_nm,
    )


def background_score(
    estimator: Estimator, made: Templates, ranges: ObservationRanges, electrons: float, seed: int
) -> float:
    """The score that 95 % of counted backgrounds without a crystal stay below.

    Args:
        ranges: halo, rings and beam stop of the study's observed patterns.
        electrons: in each of them.
        seed: of backgrounds and counts.
    """
    generator = torch.Generator().manual_seed(seed)
    device = made.patterns.device
    observation = draw(ranges, made.simulator.diffraction, _BACKGROUNDS, generator)
    rotation = torch.eye(3, dtype=torch.float64).expand(_BACKGROUNDS, 3, 3)
    background = expected(made.simulator, rotation, observation).background.cpu()
    patterns = counts(background, background, electrons, 0.0, generator)
    middle = (patterns.shape[-1] - 1) / 2
    patterns = on_grid(patterns, (middle, middle), middle, made.beam_stop_px, patterns.shape[-1])
    score = answer([patterns], estimator, made.gallery(device), 1).score
    return float(np.quantile(score[:, 0].numpy(), _BELOW))


def quality(answers: dict[str, Answers], below: dict[str, float], made: Templates) -> dict:
    """What can be reported without a truth: scores, what is indexed, how far candidates and estimators agree."""
    report = {}
    for name, best in answers.items():
        score, second = best.score.numpy(), min(1, best.score.shape[1] - 1)
        first_two = (best.rotation[:, rank].double() for rank in (0, second))
        report[name] = {
            "score_median": float(np.median(score[:, 0])),
            "not_indexed_below": below[name],
            "indexed_share": float((score[:, 0] >= below[name]).mean()),
            "margin_median": float(np.median(score[:, 0] - score[:, second])),
            "second_answer_away_deg_median": float(misorientation_deg(*first_two, made.symmetry).median()),
        }
    first, *others = answers
    for other in others:
        pair = (answers[name].rotation[:, 0].double() for name in (first, other))
        away = misorientation_deg(*pair, made.symmetry)
        report[other]["agrees_with_" + first] = float((away <= SAME_DEG).double().mean())
    return report
