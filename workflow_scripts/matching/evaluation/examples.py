"""Arrays of the figure that are not in the table: queries and predictions, misorientations, ROC curves, a map."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from scipy.ndimage import map_coordinates

from workflow_scripts.matching.evaluation import metrics
from workflow_scripts.matching.evaluation.statistics import CHANCE, Prediction, best_template, of_plain_queries
from workflow_scripts.matching.settings import Evaluate, base_of
from workflow_scripts.matching.simulation.orientations import nearest_direction
from workflow_scripts.matching.simulation.pattern_files import MAP, NOT_CRYSTAL, PLAIN, Queries

SHOWN, CANDIDATES = 4, 3
EDGES_DEG = np.concatenate([[0.0], np.geomspace(0.05, 180.0, 96)])
FALSE_SHARE = np.linspace(0, 1, 101)


def example_arrays(
    table: pd.DataFrame,
    predictions: Sequence[Prediction],
    queries: Queries,
    settings: Evaluate,
    pixel_size_per_a: float,
) -> dict[str, np.ndarray]:
    """Everything in the figure that is not in the table, for every estimator's first seed and last stage.

    Returns:
        shown (E,): the corrected arm (or published without it) and the best template matcher; of the first X queries at
        the headline's dose query (X, H, W) counts, truth (X, H, W), the A best predictions answer (E, X, A, H, W) and
        their misorientations answer_deg (E, X, A); histograms of the misorientations of the N estimators: estimators
        (N,), edges_deg, misorientations (N, B), and floor (B,) of the gallery; ROC curves of R estimators for
        recognising patterns without a crystal: roc_of (R,), false_share (F,), roc (R, F);
        map_direction (1 + E, Y, X, 3), the truth first, beam directions in the crystal's frame, and map_deg (E, Y, X),
        both empty where there is no map; symmetry; pixel_size_per_a, headline_dose_e, tolerance_deg.
    """
    last = _last_stages(predictions)
    rows = table[(table["dose_e"] == settings.headline_dose_e) & table["stage"].isna()]
    by_estimator = {
        name: rows[(rows["estimator"] == name) & _has_seed(rows, prediction)] for name, prediction in last.items()
    }
    plain = of_plain_queries(rows)
    template = best_template(plain)
    shown = [name for name in ("corrected", "published") if name in last][:1] + [template] * (template is not None)
    return {
        "shown": np.array(shown, dtype=str),
        **_pictures([last[name] for name in shown], queries, np.unique(plain["query"])[:SHOWN]),
        **_histograms(by_estimator),
        **_roc_curves(by_estimator),
        **_map([last[name] for name in shown], queries, settings),
        "symmetry": queries.symmetry,
        "pixel_size_per_a": np.float64(pixel_size_per_a),
        "headline_dose_e": np.float64(settings.headline_dose_e),
        "tolerance_deg": np.float64(settings.tolerance_deg),
    }


def rotated(pattern: np.ndarray, angle_rad: float) -> np.ndarray:
    """A pattern (H, W) rotated in its plane about its middle, from +x to +y."""
    middle = (np.array(pattern.shape) - 1)[:, None, None] / 2
    y, x = np.indices(pattern.shape) - middle
    cos, sin = np.cos(angle_rad), np.sin(angle_rad)
    return map_coordinates(pattern, np.stack([cos * y - sin * x, cos * x + sin * y]) + middle, order=1)


def in_plane_rad(rotation: np.ndarray, gallery: np.ndarray) -> float:
    """The angle psi for which Rz(psi) @ gallery is nearest to rotation, both (3, 3)."""
    between = rotation @ gallery.T
    return float(np.arctan2(between[1, 0] - between[0, 1], between[0, 0] + between[1, 1]))


def rotated_template(rotation: np.ndarray, row: int, operation: np.ndarray, queries: Queries) -> np.ndarray:
    """The gallery's pattern of this row, rotated in its plane as near as possible to an orientation (3, 3)."""
    return rotated(queries.gallery[row], in_plane_rad(rotation, queries.gallery_rotation[row] @ operation))


def _last_stages(predictions: Sequence[Prediction]) -> dict[str, Prediction]:
    """By estimator the first seed's prediction at the last stage, without the arms of the ablation."""
    last: dict[str, Prediction] = {}
    for prediction in predictions:
        if prediction.stage is None and base_of(prediction.estimator) == prediction.estimator:
            last.setdefault(prediction.estimator, prediction)
    return last


def _has_seed(table: pd.DataFrame, prediction: Prediction) -> pd.Series:
    return table["seed"].isna() if prediction.seed is None else table["seed"] == prediction.seed


def _pictures(shown: Sequence[Prediction], queries: Queries, rows: np.ndarray) -> dict[str, np.ndarray]:
    """The queries of these rows with the templates of their true and of their predicted orientations."""
    true, symmetry = queries.rotation[rows], queries.symmetry
    _, nearest, operation = nearest_direction(true[:, 2], queries.gallery_rotation[:, 2], symmetry)
    truth = [rotated_template(*row, queries) for row in zip(true, nearest, symmetry[operation], strict=True)]
    pictures, degrees = [], []
    for prediction in shown:
        rotation, index = prediction.rotation[rows, :CANDIDATES], prediction.gallery_index[rows, :CANDIDATES]
        places = np.ndindex(index.shape)
        pictures += [rotated_template(rotation[place], index[place], np.eye(3), queries) for place in places]
        degrees.append(metrics.misorientation_deg(rotation, true, symmetry))
    shape = len(shown), len(rows), CANDIDATES
    return {
        "query": queries.counts[rows],
        "truth": np.array(truth, dtype=np.float32),
        "answer": np.array(pictures, dtype=np.float32).reshape(*shape, *queries.counts.shape[1:]),
        "answer_deg": np.array(degrees).reshape(shape),
    }


def _histograms(by_estimator: Mapping[str, pd.DataFrame]) -> dict[str, np.ndarray]:
    plain = [of_plain_queries(rows) for rows in by_estimator.values()]
    return {
        "estimators": np.array(list(by_estimator), dtype=str),
        "edges_deg": EDGES_DEG,
        "misorientations": np.array([np.histogram(rows[metrics.DEG], EDGES_DEG)[0] for rows in plain]),
        "floor": np.histogram(plain[0][metrics.FLOOR], EDGES_DEG)[0],
    }


def _roc_curves(by_estimator: Mapping[str, pd.DataFrame]) -> dict[str, np.ndarray]:
    """Plain queries of unseen directions against those without a crystal; chance has no curve."""
    curves = {}
    for name, rows in by_estimator.items():
        compared = pd.concat([of_plain_queries(rows), rows[rows["kind"] == NOT_CRYSTAL]])
        of_crystal = (compared["kind"] == PLAIN).to_numpy()
        if name != CHANCE and not of_crystal.all():
            curves[name] = metrics.roc(compared["score"].to_numpy(), of_crystal, FALSE_SHARE)
    return {
        "roc_of": np.array(list(curves), dtype=str),
        "false_share": FALSE_SHARE,
        "roc": np.array(list(curves.values())).reshape(len(curves), len(FALSE_SHARE)),
    }


def _map(shown: Sequence[Prediction], queries: Queries, settings: Evaluate) -> dict[str, np.ndarray]:
    """The map at the headline's dose, or else at the dose in the file."""
    of_map = queries.kind == MAP
    doses = queries.dose_e[of_map]
    if (doses == settings.headline_dose_e).any():
        of_map &= queries.dose_e == settings.headline_dose_e
    rows = np.flatnonzero(of_map)
    side = int(np.sqrt(len(rows)))
    if not side or side * side != len(rows):
        return {"map_direction": np.zeros((0, 0, 0, 3)), "map_deg": np.zeros((0, 0, 0))}
    true = queries.rotation[rows]
    first = [prediction.rotation[rows, 0] for prediction in shown]
    degrees = [metrics.misorientation_deg(rotation[:, None], true, queries.symmetry)[:, 0] for rotation in first]
    # The beam, z of the laboratory, in the crystal's frame is the last row
    directions = np.stack([true, *first])[:, :, 2]
    return {
        "map_direction": directions.reshape(-1, side, side, 3),
        "map_deg": np.array(degrees).reshape(-1, side, side),
    }
