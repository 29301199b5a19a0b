"""Physical refit: the best candidates of a dense gallery, fitted to the counts of each pattern.

Orientation, thickness, centre, distortion and the share of the spots maximise the Poisson likelihood of the counted
electrons by Fisher scoring (McCullagh and Nelder, doi:10.1007/978-1-4899-3242-6). The spread of centre and distortion
is that of the training pairs. The candidates come from polar template matching or from the corrected network.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from workflow_scripts.matching.estimators.network import NetworkEstimator
from workflow_scripts.matching.estimators.polar_template import PolarTemplates
from workflow_scripts.matching.networks.model import load_matcher
from workflow_scripts.matching.networks.retrieval import (
    Gallery,
    Predictions,
    SomePredictions,
    distinct,
    predict_batches,
)
from workflow_scripts.matching.settings import RefitSettings
from workflow_scripts.matching.settings import RefitSettings as Options
from workflow_scripts.matching.simulation.crystals import load
from workflow_scripts.matching.simulation.fitted import PatternModel, moved, rotations_of, states
from workflow_scripts.matching.simulation.kinematic import Simulator, shares
from workflow_scripts.matching.simulation.observed import stretch, visible_pixels
from workflow_scripts.matching.simulation.orientations import from_direction, gallery_directions, nearest_direction
from workflow_scripts.matching.simulation.pairs import Pairs, read_pairs
from workflow_scripts.matching.simulation.pattern_files import MAP, Queries
from workflow_scripts.workflow.command import Job
from workflow_scripts.workflow.progress import Progress

# Of each stage the candidates that are fitted, the best so far, and the steps of Fisher scoring
_PLAN = ((None, 1), (20, 2), (10, 3))
# Standard deviations that damp the orientation's steps, degrees about x, y, z, and largest steps of all parameters:
# rotation, rad; log thickness; centre, px; stretch; share
_DAMPING_DEG = (1.0, 1.0, 1.5)
_LARGEST_STEP = (*(math.radians(angle) for angle in (0.6, 0.6, 0.8)), 0.15, 0.5, 0.5, 0.01, 0.01, 0.01, 0.2)
_SHARE, _SHARE_SPREAD = 0.5, 0.3
_CLIPPED = 0.9  # quantile of a ring's counts above which they are spots, not background
_RECORDINGS = 500  # training pairs from which the visible pixels are found
_AT_ONCE = {"cpu": 1, "cuda": 32}  # patterns; one fills the cache of a core


@dataclass(frozen=True, eq=False)
class Prior:
    """Normal distributions of the values of a state: mean and standard deviation (7,), and the pixels seen (n, n)."""

    mean: Tensor
    spread: Tensor
    visible: Tensor

    @classmethod
    def of(cls, pairs: Pairs, thickness_spread: float) -> "Prior":
        """From how the training pairs are recorded; `thickness_spread`: standard deviation of the log thickness."""
        recording = pairs.recordings()
        matrix = stretch(recording)
        yy, xx = matrix[:, 0, 0], matrix[:, 1, 1]
        columns = torch.stack([*recording.centre_px.T, (yy + xx) / 2 - 1, (yy - xx) / 2, matrix[:, 0, 1]], dim=1)
        first, last = columns.new_tensor([0.0, thickness_spread]), columns.new_tensor([_SHARE, _SHARE_SPREAD])
        mean = torch.cat([first[:1], columns.mean(dim=0), last[:1]])
        spread = torch.cat([first[1:], columns.std(dim=0).clamp_min(1e-4), last[1:]])
        seen = visible_pixels(pairs.diffraction, recording[:_RECORDINGS]).float().mean(dim=0) > 0.5
        return cls(mean, spread, seen)


class Refit:
    """Fits candidates to patterns.

    Args:
        simulator: of the crystal.
        prior: of what is fitted beside the orientation.
        settings: of the refit.
    """

    def __init__(self, simulator: Simulator, prior: Prior, settings: RefitSettings) -> None:
        self._model = PatternModel(simulator, settings.mosaic_deg, prior.visible, settings.reflections)
        self._mean = prior.mean.to(simulator.device)
        damping = torch.deg2rad(torch.tensor(_DAMPING_DEG))
        self._precision = torch.cat([damping, prior.spread.cpu()]).to(simulator.device).square().reciprocal()  # (10,)
        self._largest = torch.tensor(_LARGEST_STEP, device=simulator.device)

    @torch.inference_mode()
    def fit(self, counts: Tensor, rotation: Tensor) -> Predictions:
        """Candidates (Q, K, 3, 3) fitted to patterns (Q, n, n), best first, with their places before as indices.

        The score is the logarithm of the posterior less that of the background alone, per electron.
        """
        number, candidates = rotation.shape[:2]
        counts = counts * self._model.visible
        background = shares(background_of(counts) * self._model.visible)
        state = states(rotation.flatten(0, 1).float(), self._mean.expand(number * candidates, -1))
        value = state.new_full((number, candidates), -math.inf)
        row = torch.arange(number, device=state.device)[:, None]
        for kept, steps in _PLAN:
            best = value.argsort(dim=1, descending=True, stable=True)[:, :kept]
            rows = (best + candidates * row).flatten()
            pattern = rows // candidates
            fitted, height = self._climb(state[rows], counts[pattern], background[pattern], steps)
            better = height > value.flatten()[rows]
            state = state.index_copy(0, rows[better], fitted[better])
            value = value.flatten().index_copy(0, rows[better], height[better]).view_as(value)
        alone = _log_likelihood(counts, background.clamp_min(1e-9))[:, None]
        order = value.argsort(dim=1, descending=True, stable=True)
        score = (value.gather(1, order) - alone) / counts.sum(dim=(1, 2)).clamp_min(1)[:, None]
        return Predictions(rotations_of(state).view_as(rotation)[row, order], score, order)

    def _climb(self, state: Tensor, counts: Tensor, background: Tensor, steps: int) -> tuple[Tensor, Tensor]:
        """The best states (M, 16) on the way of some steps of Fisher scoring, and their log posteriors (M,)."""
        reflections = self._model.strongest(state)
        best, highest = state, torch.full_like(state[:, 0], -math.inf)
        for left in range(steps, -1, -1):
            expected, slopes = self._model.expected(state, reflections, background, slopes=left > 0)
            deviation = state[:, 9:] - self._mean
            value = _log_likelihood(counts, expected) - (self._precision[3:] * deviation.square()).sum(dim=1) / 2
            best = torch.where((value > highest)[:, None], state, best)
            highest = torch.maximum(value, highest)
            if left:
                state = moved(state, self._step(counts, expected, slopes, deviation))
        return best, highest

    def _step(self, counts: Tensor, expected: Tensor, slopes: Tensor, deviation: Tensor) -> Tensor:
        """Steps (M, 10) of Fisher scoring: gradient of the log posterior over the expected information."""
        slopes = slopes.flatten(2)
        gradient = (slopes @ (counts / expected).flatten(1)[..., None])[..., 0]
        gradient[:, 3:] -= self._precision[3:] * deviation
        weights = (counts.sum(dim=(1, 2), keepdim=True) / expected).flatten(1)[:, None]
        information = (slopes * weights) @ slopes.mT + torch.diag(self._precision)
        step = torch.linalg.solve(information, gradient)
        return torch.maximum(torch.minimum(step, self._largest), -self._largest)


def background_of(counts: Tensor) -> Tensor:
    """Background (Q, n, n) of patterns (Q, n, n): the mean over each ring of counts that are clipped at a quantile."""
    side_px = counts.shape[-1]
    axis = torch.arange(side_px, device=counts.device) - (side_px - 1) / 2
    ring = torch.hypot(axis[:, None], axis).round().long().flatten()
    flat = counts.flatten(1)
    background = torch.empty_like(flat)
    for number in ring.unique().tolist():
        pixels = (ring == number).nonzero()[:, 0]
        values = flat[:, pixels].sort(dim=1).values
        limit = values[:, round(_CLIPPED * (len(pixels) - 1)), None].clamp_min(1)
        background[:, pixels] = values.minimum(limit).mean(dim=1, keepdim=True)
    return background.view_as(counts).clamp_min(0.02)


def _log_likelihood(counts: Tensor, expected: Tensor) -> Tensor:
    """Of Poisson counts (M, n, n) with a known total, up to a constant: (M,)."""
    return (counts * expected.log()).sum(dim=(1, 2))


def answered(queries: Queries, settings: RefitSettings) -> np.ndarray:
    """Rows of the queries that are refitted, evenly spaced in their group of equal kind, region and dose.

    The first group is that of the headline.
    """
    groups = list(zip(queries.kind, queries.region, queries.dose_e, strict=True))
    rows: list[np.ndarray] = []
    for group in dict.fromkeys(groups):
        members = np.array([row for row, other in enumerate(groups) if other == group])
        most = settings.map_queries if group[0] == MAP else settings.other_queries
        number = min(len(members), most if rows else settings.first_queries)
        rows.append(members[np.linspace(0, len(members) - 1, number).round().astype(int)])
    return np.sort(np.concatenate(rows))


def predict(job: Job, queries: Queries, device: torch.device) -> dict[str, SomePredictions]:
    """The candidates of the dense gallery under `dense_gallery`, the refitted ones as the last stage.

    Raises:
        InputError: the training pairs, or the weights of the network, are missing.
    """
    from_templates = job.arguments.estimator == "polar_refit"
    job.require("shards", *([] if from_templates else ["proposing"]))
    options: Options = job.arguments.options
    pairs = read_pairs(job.inputs["shards"]).to(device)
    simulator = Simulator(load(job.arguments.crystal), pairs.diffraction, device)
    symmetry = torch.from_numpy(queries.symmetry)
    directions = from_direction(gallery_directions(options.directions, symmetry))
    calculated, dense = simulator.patterns(directions), Gallery.of(directions.numpy(), queries.symmetry, device)
    if from_templates:
        last, estimator = "fitted", PolarTemplates.tuned(calculated, pairs, device)
    else:
        matcher = load_matcher(job.input("proposing"))
        last, estimator = "finetuned", NetworkEstimator(matcher, calculated, device, job.arguments.precision)
    rows = answered(queries, options)
    counts = torch.from_numpy(queries.counts[rows])
    found = predict_batches(counts.split(job.arguments.batch_size // 10 or 1), estimator, dense, options.candidates)
    refit = Refit(simulator, Prior.of(pairs, options.thickness_spread), options)
    fitted = refitted(refit, counts, found, dense, job.arguments.candidates)
    stages = {"dense_gallery": found, last: fitted}
    return {stage: in_test_gallery(part, queries, rows, job.arguments.candidates) for stage, part in stages.items()}


def refitted(refit: Refit, counts: Tensor, found: Predictions, gallery: Gallery, candidates: int) -> Predictions:
    """The best orientations, on the CPU, of patterns (Q, n, n) after a refit of all that were found.

    The first score of a pattern is the best one before the refit, which tells better whether it shows the crystal at
    all: spots of other crystals are fitted too. The others follow at the distances of their posteriors.
    """
    device = gallery.rotation.device
    parts, size = [], _AT_ONCE[device.type]
    with Progress(len(counts), "queries") as progress:
        for some, rotation in zip(counts.split(size), found.rotation.split(size), strict=True):
            fitted = distinct(refit.fit(some.to(device), rotation.to(device)), gallery.symmetry, candidates)
            parts.append([tensor.cpu() for tensor in vars(fitted).values()])
            progress.advance(len(some))
    rotation, score, place = (torch.cat(tensors) for tensors in zip(*parts, strict=True))
    return Predictions(rotation, found.score[:, :1] + score - score[:, :1], place)


def in_test_gallery(found: Predictions, queries: Queries, rows: np.ndarray, candidates: int) -> SomePredictions:
    """The first candidates, as the equivalents that are nearest to a direction of the test file's gallery."""
    found = found.first(candidates)
    rotation = found.rotation.double().numpy()
    directions, symmetry = queries.gallery_rotation[:, 2], queries.symmetry
    _, nearest, operation = nearest_direction(rotation[:, :, 2].reshape(-1, 3), directions, symmetry)
    equivalent = rotation @ symmetry[operation].swapaxes(-1, -2).reshape(rotation.shape)
    index = torch.from_numpy(nearest.reshape(rotation.shape[:2]))
    return SomePredictions(torch.from_numpy(equivalent).float(), found.score, index, torch.from_numpy(rows))
