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
from workflow_scripts.matching.settings import RefitOptions as Options
from workflow_scripts.matching.settings import RefitSettings
from workflow_scripts.matching.simulation.crystals import load
from workflow_scripts.matching.simulation.fitted import PatternModel, State
from workflow_scripts.matching.simulation.kinematic import Simulator
from workflow_scripts.matching.simulation.observed import stretch, visible_pixels
from workflow_scripts.matching.simulation.orientations import from_direction, gallery_directions, nearest_direction
from workflow_scripts.matching.simulation.pairs import Pairs, read_pairs
from workflow_scripts.matching.simulation.pattern_files import Queries
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
    """Normal distributions of `State.values`: mean and standard deviation, (7,) each, and the pixels seen (n, n)."""

    mean: Tensor
    spread: Tensor
    visible: Tensor

    @classmethod
    def of(cls, pairs: Pairs, thickness_spread: float) -> "Prior":
        """From how the training pairs are recorded; `thickness_spread`: standard deviation of the log thickness."""
        recording = pairs.recordings()
        matrix = stretch(recording)
        yy, xx = matrix[:, 0, 0], matrix[:, 1, 1]
        kappa, e1 = (yy + xx) / 2 - 1, (yy - xx) / 2
        columns = torch.stack([*recording.centre_px.T, kappa, e1, matrix[:, 0, 1]], dim=1)
        ends = [columns.new_tensor([value]) for value in (0.0, _SHARE, thickness_spread, _SHARE_SPREAD)]
        mean = torch.cat([ends[0], columns.mean(dim=0), ends[1]])
        spread = torch.cat([ends[2], columns.std(dim=0).clamp_min(1e-4), ends[3]])
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
        device = simulator.device
        visible = prior.visible.to(device)
        self._model = PatternModel(simulator, settings.mosaic_deg, visible, settings.reflections)
        self._mean = prior.mean.to(device)
        damping = torch.deg2rad(torch.tensor(_DAMPING_DEG, device=device))
        self._precision = torch.cat([damping, prior.spread.to(device)]).square().reciprocal()  # (10,)
        self._largest = torch.tensor(_LARGEST_STEP, device=device)

    @torch.inference_mode()
    def fit(self, counts: Tensor, rotation: Tensor) -> Predictions:
        """Fitted orientations of candidates.

        Args:
            counts: (Q, n, n).
            rotation: (Q, K, 3, 3).

        Returns:
            best first, with the places of the candidates before as indices; the score is the logarithm of the
            posterior less that of the background alone, per electron.
        """
        number, candidates = rotation.shape[:2]
        counts = counts * self._model.visible
        background = background_of(counts) * self._model.visible
        background = background / background.sum(dim=(1, 2), keepdim=True)
        state = State(rotation.flatten(0, 1).float(), self._mean.repeat(number * candidates, 1))
        value = state.values.new_full((number, candidates), -math.inf)
        for kept, steps in _PLAN:
            # The best so far of every pattern: rows of `state`
            best = value.argsort(dim=1, descending=True, stable=True)[:, : kept or candidates]
            rows = (best + candidates * torch.arange(number, device=best.device)[:, None]).flatten()
            pattern = rows // candidates
            fitted, height = self._climb(state[rows], counts[pattern], background[pattern], steps)
            value = value.scatter(1, best, torch.maximum(value.gather(1, best), height.view_as(best)))
            state = state.replaced(rows, fitted)
        electrons = counts.sum(dim=(1, 2)).clamp_min(1)
        alone = _log_likelihood(counts, background.clamp_min(1e-9))
        order = value.argsort(dim=1, descending=True, stable=True)
        score = (value.gather(1, order) - alone[:, None]) / electrons[:, None]
        row = torch.arange(number, device=order.device)[:, None]
        return Predictions(state.rotation.view_as(rotation)[row, order], score, order)

    def _climb(self, state: State, counts: Tensor, background: Tensor, steps: int) -> tuple[State, Tensor]:
        """The best states on the way of some steps of Fisher scoring, and their log posteriors (M,)."""
        reflections = self._model.strongest(state.rotation)
        best, highest = state, torch.full_like(state.values[:, 0], -math.inf)
        for _ in range(steps):
            expected, slopes = self._model.with_slopes(state, reflections, background)
            deviation = state.values - self._mean
            value = self._log_posterior(counts, expected, deviation)
            best, highest = state.where(value > highest, best), torch.maximum(value, highest)
            state = state.moved(self._step(counts, expected, slopes, deviation))
        expected = self._model.expected(state, reflections, background)
        value = self._log_posterior(counts, expected, state.values - self._mean)
        return state.where(value > highest, best), torch.maximum(value, highest)

    def _log_posterior(self, counts: Tensor, expected: Tensor, deviation: Tensor) -> Tensor:
        return _log_likelihood(counts, expected) - (self._precision[3:] * deviation.square()).sum(dim=1) / 2

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


def _log_likelihood(counts: Tensor, shares: Tensor) -> Tensor:
    """Of Poisson counts (M, n, n) with a known total, up to a constant: (M,)."""
    return (counts * shares.log()).sum(dim=(1, 2))


def answered(queries: Queries, first: int, others: int) -> np.ndarray:
    """Rows of the queries that are refitted, evenly spaced in their group of equal kind, region and dose.

    first: largest number of the first group, that of the headline. others: of every other group.
    """
    groups = np.stack([queries.kind, queries.region, queries.dose_e.astype(str)], axis=1)
    rows = []
    for group in dict.fromkeys(map(tuple, groups)):
        members = np.flatnonzero((groups == group).all(axis=1))
        number = min(len(members), others if rows else first)
        rows.append(members[np.linspace(0, len(members) - 1, number).round().astype(int)])
    return np.sort(np.concatenate(rows))


def predict(job: Job, queries: Queries, device: torch.device) -> dict[str, SomePredictions]:
    """The candidates of the dense gallery under `dense_gallery`, the refitted ones as the last stage.

    Raises:
        InputError: the training pairs, or the weights of the network, are missing.
    """
    job.require("shards")
    options: Options = job.arguments.options
    pairs = read_pairs(job.inputs["shards"], device)
    simulator = Simulator(load(options.crystal), pairs.diffraction, device)
    symmetry = torch.from_numpy(queries.symmetry)
    directions = from_direction(gallery_directions(options.directions, symmetry))
    calculated, dense = simulator.patterns(directions), Gallery.of(directions.numpy(), queries.symmetry, device)
    if "finetuned" in job.inputs:
        matcher = load_matcher(job.input("finetuned"))
        last, estimator = "finetuned", NetworkEstimator(matcher, calculated, device, job.arguments.precision)
    else:
        last, estimator = "fitted", PolarTemplates.tuned(calculated, pairs, device)
    rows = answered(queries, options.first_queries, options.other_queries)
    counts = torch.from_numpy(queries.counts[rows])
    found = predict_batches(counts.split(job.arguments.batch_size // 10 or 1), estimator, dense, options.candidates)
    refit = Refit(simulator, Prior.of(pairs, options.thickness_spread), options)
    fitted = refitted(refit, counts, found, dense, job.arguments.candidates)
    stages = {"dense_gallery": found, last: fitted}
    return {stage: in_test_gallery(part, queries, rows, job.arguments.candidates) for stage, part in stages.items()}


def refitted(refit: Refit, counts: Tensor, found: Predictions, gallery: Gallery, candidates: int) -> Predictions:
    """The best orientations, on the CPU, of patterns (Q, n, n) after a refit of all that were found."""
    device = gallery.rotation.device
    parts, size = [], _AT_ONCE[device.type]
    with Progress(len(counts), "queries") as progress:
        for some, rotation in zip(counts.split(size), found.rotation.split(size), strict=True):
            fitted = distinct(refit.fit(some.to(device), rotation.to(device)), gallery.symmetry, candidates)
            parts.append([tensor.cpu() for tensor in vars(fitted).values()])
            progress.advance(len(some))
    return Predictions(*(torch.cat(tensors) for tensors in zip(*parts, strict=True)))


def in_test_gallery(found: Predictions, queries: Queries, rows: np.ndarray, candidates: int) -> SomePredictions:
    """The first candidates, as the equivalents that are nearest to a direction of the test file's gallery."""
    found = found.first(candidates)
    rotation = found.rotation.double().numpy()
    directions, symmetry = queries.gallery_rotation[:, 2], queries.symmetry
    _, nearest, operation = nearest_direction(rotation[:, :, 2].reshape(-1, 3), directions, symmetry)
    equivalent = rotation @ symmetry[operation].swapaxes(-1, -2).reshape(rotation.shape)
    index = torch.from_numpy(nearest.reshape(rotation.shape[:2]))
    return SomePredictions(torch.from_numpy(equivalent).float(), found.score, index, torch.from_numpy(rows))
