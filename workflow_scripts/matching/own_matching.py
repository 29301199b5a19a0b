"""Orientations of the user's patterns: a gallery of the user's crystal, answers in batches, what is not indexed."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from workflow_scripts.matching.crystals import Crystal
from workflow_scripts.matching.datasets import diffraction_of
from workflow_scripts.matching.estimators import Estimator
from workflow_scripts.matching.kinematic import Diffraction, Simulator
from workflow_scripts.matching.observed import ObservationRanges, counts, draw, expected
from workflow_scripts.matching.orientations import from_direction, gallery_directions, misorientation_deg
from workflow_scripts.matching.own_data import Layout, on_grid
from workflow_scripts.matching.own_settings import Apply
from workflow_scripts.matching.retrieval import Gallery, best_answers
from workflow_scripts.matching.settings import DiffractionSettings
from workflow_scripts.matching.structure_factors import laue_rotations
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
    settings: Apply, crystal: Crystal, found: Layout, study: DiffractionSettings, device: torch.device
) -> Templates:
    """The gallery of a crystal as the user's camera sees it.

    Args:
        settings: the entry of the configuration.
        crystal: the user's.
        found: how the patterns lie on the detector.
        study: the network's grid, and what the entry leaves open.
        device: where patterns are made.

    Raises:
        InputError: the camera sees no reflection of the crystal.
    """
    diffraction = _on_the_grid(settings, found, study)
    try:
        simulator = Simulator(crystal, diffraction, device)
    except ValueError as error:
        raise InputError(f"crystal: {settings.crystal}: {error}; check pixel_size_per_a and the cell") from None
    symmetry = laue_rotations(crystal)
    rotation = from_direction(gallery_directions(settings.gallery, symmetry))
    patterns = simulator.patterns(rotation)
    middle = (diffraction.side_px - 1) / 2
    stop_px = settings.beam_stop_px * middle / found.radius_px
    patterns = on_grid(patterns.cpu(), (middle, middle), middle, stop_px, diffraction.side_px).to(device)
    if not bool((patterns.sum(dim=(1, 2)) > 0).any()):
        raise InputError(
            f"crystal: {settings.crystal} has no reflection between beam_stop_px and the rim of the patterns;"
            " check pixel_size_per_a"
        )
    return Templates(patterns, rotation, symmetry, simulator, stop_px)


def _on_the_grid(settings: Apply, found: Layout, study: DiffractionSettings) -> Diffraction:
    base = diffraction_of(study)
    pixel = settings.pixel_size_per_a * found.radius_px / ((base.side_px - 1) / 2)
    return replace(
        base,
        pixel_size_per_a=pixel,
        voltage_kv=settings.voltage_kv or base.voltage_kv,
        thickness_nm=settings.thickness_nm or base.thickness_nm,
    )


@dataclass(frozen=True)
class Found:
    """The answers to all patterns, best first: rotation float32 (N, K, 3, 3), score float32 (N, K)."""

    rotation: np.ndarray
    score: np.ndarray


def answer(parts: Iterator[Tensor], estimator: Estimator, gallery: Gallery, candidates: int, batch_size: int) -> Found:
    """The best orientations of patterns that come in parts (B, n, n)."""
    device = gallery.rotation.device
    rotation, score = [], []
    for part in parts:
        for patterns in part.split(batch_size):
            best = best_answers(estimator.curves(patterns.to(device)), gallery, candidates)
            rotation.append(best.rotation.cpu().numpy())
            score.append(best.score.cpu().numpy())
    return Found(np.concatenate(rotation), np.concatenate(score))


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
    seen = counts(background, background, electrons, 0.0, generator)
    middle = (seen.shape[-1] - 1) / 2
    seen = on_grid(seen, (middle, middle), middle, made.beam_stop_px, seen.shape[-1])
    found = answer(iter([seen]), estimator, made.gallery(device), 1, _BACKGROUNDS)
    return float(np.quantile(found.score[:, 0], _BELOW))


def quality(answers: dict[str, Found], below: dict[str, float], made: Templates) -> dict:
    """What can be said without a truth: scores, what is indexed, how far candidates and estimators agree."""
    report = {}
    for name, found in answers.items():
        first = torch.from_numpy(found.rotation[:, 0]).double()
        runner = torch.from_numpy(found.rotation[:, min(1, found.rotation.shape[1] - 1)]).double()
        report[name] = {
            "score_median": float(np.median(found.score[:, 0])),
            "not_indexed_below": below[name],
            "indexed_share": float((found.score[:, 0] >= below[name]).mean()),
            "margin_median": float(np.median(found.score[:, 0] - found.score[:, min(1, found.score.shape[1] - 1)])),
            "second_answer_away_deg_median": float(misorientation_deg(first, runner, made.symmetry).median()),
        }
    first, *others = answers
    for other in others:
        pair = (torch.from_numpy(answers[name].rotation[:, 0]).double() for name in (first, other))
        away = misorientation_deg(*pair, made.symmetry)
        report[other]["agrees_with_" + first] = float((away <= SAME_DEG).double().mean())
    return report
