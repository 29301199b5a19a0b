"""Toy queries of an orthorhombic lattice and predictions of a chosen quality, to test evaluate and plot with."""

import numpy as np
from scipy.spatial.transform import Rotation

from workflow_scripts.matching.settings import Evaluate
from workflow_scripts.matching.simulation.orientations import nearest_direction
from workflow_scripts.matching.simulation.pattern_files import (
    DYNAMICAL,
    NOT_CRYSTAL,
    PLAIN,
    SEEN,
    TWO_CRYSTALS,
    UNSEEN,
    Queries,
)
from workflow_scripts.study.predictions import write_predictions as write_parts
from workflow_scripts.workflow.files import write_arrays
from workflow_scripts.workflow.settings import check

SYMMETRY = Rotation.create_group("D2").as_matrix()
DOSES = (100.0, 300.0)
SIDE, KEPT, GRAINS_SIDE = 32, 15, 6
EVALUATE = {
    "ablations": [],
    "headline_dose_e": 300.0,
    "tolerance_deg": 3.0,
    "bootstrap_samples": 100,
    "seed": 0,
}


def settings(**changes) -> Evaluate:
    return check(Evaluate, EVALUATE | changes)


def directed(directions: np.ndarray) -> np.ndarray:
    """The smallest rotations (N, 3, 3) that bring the directions (N, 3) to z."""
    return np.array([Rotation.align_vectors([[0, 0, 1]], [direction])[0].as_matrix() for direction in directions])


def patterns(rotation: np.ndarray) -> np.ndarray:
    """Spots of a lattice near the Ewald plane (N, n, n), sum 1."""
    reciprocal = np.array(np.meshgrid(*[np.arange(-4, 5)] * 3)).reshape(3, -1).T * [1.35, 2.0, 3.9]
    reciprocal = reciprocal[np.abs(reciprocal).sum(axis=1) > 0]
    weight = np.exp(-((reciprocal / 6) ** 2).sum(axis=1)) * (1 + (reciprocal @ [1.0, 3.0, 5.0]) ** 2 % 3)
    x, y, z = np.einsum("nab,gb->ang", rotation, reciprocal)
    strength = weight * np.exp(-((z / 0.8) ** 2))
    grid = np.arange(SIDE) - (SIDE - 1) / 2
    across, along = (np.exp(-((grid - 1.6 * place[..., None]) ** 2) / 2) for place in (y, x))
    images = np.einsum("ngy,ngx,ng->nyx", across, along, strength)
    return (images / images.sum(axis=(1, 2), keepdims=True)).astype(np.float32)


def toy_queries(number: int = 24, with_map: bool = True, seed: int = 0) -> Queries:
    """Queries of every kind, dose and region, `number` of each."""
    rng = np.random.default_rng(seed)
    directions = rng.standard_normal((900, 3))
    directions[:, :2] = np.abs(directions[:, :2])  # the zone of 222
    gallery = directed(directions / np.linalg.norm(directions, axis=1, keepdims=True))
    kinds = [
        (kind, region, dose)
        for kind in (PLAIN, TWO_CRYSTALS, DYNAMICAL, NOT_CRYSTAL)
        for region in (UNSEEN, SEEN)
        for dose in DOSES
    ]
    labels = [label for label in kinds for _ in range(number)]
    rotation = Rotation.random(len(labels), rng=rng).as_matrix()
    if with_map:
        grains = Rotation.random(5, rng=rng).as_matrix()
        y, x = np.indices((GRAINS_SIDE, GRAINS_SIDE)).reshape(2, -1)
        seeds = rng.uniform(0, GRAINS_SIDE, (5, 2))
        nearest = ((y[:, None] - seeds[:, 0]) ** 2 + (x[:, None] - seeds[:, 1]) ** 2).argmin(axis=1)
        labels += [("map", UNSEEN, 300.0)] * GRAINS_SIDE**2
        rotation = np.concatenate([rotation, grains[nearest]])
    kind, region, dose = (np.array(column) for column in zip(*labels, strict=True))
    second = np.where((kind == TWO_CRYSTALS)[:, None, None], Rotation.random(len(kind), rng=rng).as_matrix(), 0.0)
    expected = patterns(rotation) + 1 / SIDE**2
    expected[kind == NOT_CRYSTAL] = 2 / SIDE**2
    return Queries(
        gallery=patterns(gallery),
        gallery_rotation=gallery,
        counts=rng.poisson(expected * dose[:, None, None]).astype(np.float32),
        rotation=rotation,
        second_rotation=second,
        session=np.zeros(len(kind), int),
        kind=kind,
        region=region,
        dose_e=dose,
        symmetry=SYMMETRY,
    )


def predicted(queries: Queries, right: float, spread_deg: float = 1.0, seed: int = 1) -> dict[str, np.ndarray]:
    """Predictions, of which the first is near the truth or an equivalent in this share of queries; the rest random."""
    rng = np.random.default_rng(seed)
    n = len(queries)
    rotation = Rotation.random(n * KEPT, rng=rng).as_matrix().reshape(n, KEPT, 3, 3)
    score = np.sort(rng.uniform(0, 0.5, (n, KEPT)))[:, ::-1].copy()
    small = Rotation.from_rotvec(np.radians(spread_deg) / np.sqrt(3) * rng.standard_normal((n, 3))).as_matrix()
    # An estimator predicts the equivalent that lies in the gallery's zone
    _, nearest, operation = nearest_direction(queries.rotation[:, 2], queries.gallery_rotation[:, 2], queries.symmetry)
    equivalent = queries.rotation @ queries.symmetry[operation].swapaxes(-1, -2)
    hit = (rng.uniform(size=n) < right) & (queries.kind != NOT_CRYSTAL)
    rotation[hit, 0] = (small @ equivalent)[hit]
    score[hit, 0] += 0.3
    gallery = rng.integers(len(queries.gallery), size=(n, KEPT))
    gallery[hit, 0] = nearest[hit]
    return {"rotation": rotation, "score": score, "gallery_index": gallery}


def write_predictions(path, queries: Queries, estimator: str, right: dict[str, float], seed: int = 0):
    """A file as the stage predict makes it, `right` by stage."""
    predictions = {
        (stage, ""): predicted(queries, share, seed=place + sum(map(ord, estimator)))
        for place, (stage, share) in enumerate(right.items())
    }
    write_parts(path, estimator, seed, predictions)
    return path


def write_queries(path, queries: Queries):
    write_arrays(path, {name: getattr(queries, name) for name in Queries.__dataclass_fields__})
    return path
