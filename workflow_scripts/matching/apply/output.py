"""The results of `apply`: a table, a picture with a map, and a report on their quality."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure, SubFigure
from scipy.spatial.transform import Rotation

from workflow_scripts.matching.evaluation import metrics
from workflow_scripts.matching.evaluation.orientation_colours import ColourKey
from workflow_scripts.matching.networks.retrieval import Predictions
from workflow_scripts.study.figures import style, without_ticks

_EXAMPLES = 6
_SAME_DEG = 3.0  # two estimators agree if their first orientations are at most this far apart
_DPI = 150


@dataclass(frozen=True)
class Orientations:
    """Orientations lab = R @ crystal of N patterns, K candidates each, best first.

    rotation, score: (N, K, 3, 3), (N, K). threshold: score below which a pattern is not indexed.
    scan: rows and columns of the scan, or None. symmetry: (S, 3, 3), proper rotations of the Laue group.
    """

    rotation: np.ndarray
    score: np.ndarray
    threshold: float
    scan: Sequence[int] | None
    symmetry: np.ndarray


def write_table(path: Path, orientations: Orientations) -> None:
    """A row for each candidate: its orientation, its beam direction in the crystal and Bunge's angles."""
    rotation, score, scan = orientations.rotation, orientations.score, orientations.scan
    number, candidates = score.shape
    pattern = np.repeat(np.arange(number), candidates)
    row, column = ("", "") if scan is None else np.divmod(pattern, scan[1])
    indexed = (score[:, 0] >= orientations.threshold).astype(int)
    from_first_deg = metrics.misorientation_deg(rotation, rotation[:, 0], orientations.symmetry).round(3)
    matrices = rotation.reshape(-1, 3, 3)
    # Bunge's g = Z(φ2) X(Φ) Z(φ1) takes the sample's axes to the crystal's, it is Rᵀ: R = Rz(φ1) Rx(Φ) Rz(φ2)
    euler_deg = Rotation.from_matrix(matrices).as_euler("ZXZ", degrees=True) % 360
    columns = {
        **{"pattern": pattern, "row": row, "column": column, "rank": np.tile(np.arange(candidates) + 1, number)},
        **{"score": score.ravel(), "indexed": indexed[pattern], "away_from_first_deg": from_first_deg.ravel()},
        **dict(zip(("beam_x", "beam_y", "beam_z"), matrices[:, 2].T, strict=True)),
        **dict(zip(("euler_phi1_deg", "euler_phi_deg", "euler_phi2_deg"), euler_deg.T, strict=True)),
        **{f"r{i}{j}": matrices[:, i, j] for i, j in np.ndindex(3, 3)},
    }
    pd.DataFrame(columns).to_csv(path, index=False, lineterminator="\n", float_format="%.6g")


def write_picture(path: Path, examples: np.ndarray, matches: np.ndarray, orientations: Orientations) -> None:
    """Patterns above their best matches; for a scan also the map of beam directions, grey where not indexed.

    Args:
        examples, matches: (E, n, n), observed and calculated.
    """
    scan = orientations.scan
    with style():
        figure = Figure(figsize=(7.1, 2.6 if scan is None else 5.2), layout="constrained")
        parts = figure.subfigures(1 if scan is None else 2, 1, squeeze=False)[:, 0]
        axes = parts[0].subplots(2, len(examples), squeeze=False)
        for line, pictures, label in zip(axes, (examples, matches), ("observed", "best match"), strict=True):
            line[0].set_ylabel(label)
            for axis, picture in zip(line, pictures, strict=True):
                axis.imshow(np.sqrt(np.clip(picture, 0, None)))
                axis.set(xticks=[], yticks=[])
        if scan is not None:
            _draw_map(parts[1], orientations)
        figure.savefig(path, dpi=_DPI, metadata={"Software": None}, format="png")


def _draw_map(figure: SubFigure, orientations: Orientations) -> None:
    key = ColourKey.of(orientations.symmetry)
    colours = key.colours(orientations.rotation[:, 0, 2].astype(float))
    colours[orientations.score[:, 0] < orientations.threshold] = 0.6
    left, right = figure.subplots(1, 2, width_ratios=[3, 1])
    left.imshow(colours.reshape(*orientations.scan, 3))
    left.set_title("beam in the crystal; grey: not indexed")
    key.draw(right)
    without_ticks([left, right])


def example_rows(score: np.ndarray) -> np.ndarray:
    """Indices of the patterns to show: evenly from the best score to the worst."""
    order = np.argsort(-score, kind="stable")
    return order[np.linspace(0, len(order) - 1, min(_EXAMPLES, len(order))).round().astype(int)]


def quality(predictions: Mapping[str, Predictions], thresholds: Mapping[str, float], symmetry: np.ndarray) -> dict:
    """Measures of quality that need no truth: scores, indexed share, agreement of candidates and of estimators.

    Args:
        predictions: by estimator; the others are compared with the first.
        thresholds: of each estimator the score below which a pattern is not indexed.
        symmetry: (S, 3, 3).
    """
    report = {}
    reference = next(iter(predictions))
    for name, best in predictions.items():
        score, rotation = best.score.numpy(), best.rotation.double().numpy()
        second = min(1, score.shape[1] - 1)
        second_deg = metrics.misorientation_deg(rotation[:, [second]], rotation[:, 0], symmetry)
        report[name] = {
            "score_median": float(np.median(score[:, 0])),
            "not_indexed_below": thresholds[name],
            "indexed_share": float((score[:, 0] >= thresholds[name]).mean()),
            "margin_median": float(np.median(score[:, 0] - score[:, second])),
            "second_answer_away_deg_median": float(np.quantile(second_deg, 0.5, method="lower")),
        }
        if name != reference:
            reference_rotation = predictions[reference].rotation[:, 0].double().numpy()
            from_reference_deg = metrics.misorientation_deg(rotation[:, :1], reference_rotation, symmetry)
            report[name]["agrees_with_" + reference] = float((from_reference_deg <= _SAME_DEG).mean())
    return report
