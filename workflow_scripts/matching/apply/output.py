"""What `apply` writes of the user's patterns: a table, rotations, a map or examples."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from scipy.spatial.transform import Rotation

from workflow_scripts.matching.evaluation.metrics import misorientation_deg
from workflow_scripts.matching.evaluation.orientation_colours import ColourKey
from workflow_scripts.study.figures import style, without_ticks
from workflow_scripts.workflow.files import write_rows

COLUMNS = (
    *("pattern", "row", "column", "rank", "score", "indexed", "away_from_first_deg"),
    *("beam_x", "beam_y", "beam_z", "euler_phi1_deg", "euler_phi_deg", "euler_phi2_deg"),
    *(f"r{i}{j}" for i in range(3) for j in range(3)),
)
_EXAMPLES = 6
_DPI = 150


def write_table(
    path: Path,
    rotation: np.ndarray,
    score: np.ndarray,
    below: float,
    scan: tuple[int, int] | None,
    symmetry: np.ndarray,
) -> None:
    """One row an answer: orientation lab = R @ crystal, its beam direction in the crystal and Bunge's angles.

    Args:
        rotation, score: (N, K, 3, 3), (N, K), best first.
        below: the score under which a pattern is not indexed.
        scan: rows and columns of the scan, or None.
        symmetry: (S, 3, 3), for the angle between answers.
    """
    write_rows(path, _rows(rotation, score, below, scan, symmetry), COLUMNS)


def _rows(
    rotation: np.ndarray, score: np.ndarray, below: float, scan: tuple[int, int] | None, symmetry: np.ndarray
) -> Iterator[dict[str, str | int]]:
    number, kept = score.shape
    away = misorientation_deg(rotation, rotation[:, 0], symmetry).round(3)
    # Bunge's g = Z(φ2) X(Φ) Z(φ1) turns the axes from sample to crystal: Rᵀ; as rotations R = Rz(φ1) Rx(Φ) Rz(φ2)
    euler = Rotation.from_matrix(rotation.reshape(-1, 3, 3)).as_euler("ZXZ", degrees=True) % 360
    euler = euler.reshape(number, kept, 3)
    for index in range(number):
        place = ("", "") if scan is None else divmod(index, scan[1])
        for rank in range(kept):
            matrix = rotation[index, rank]
            values = (
                *(index, *place, rank + 1, score[index, rank], int(score[index, 0] >= below), away[index, rank]),
                *(*matrix[2], *euler[index, rank], *matrix.ravel()),
            )
            text = [f"{value:.6g}" if isinstance(value, float | np.floating) else value for value in values]
            yield dict(zip(COLUMNS, text, strict=True))


def write_picture(
    path: Path,
    examples: np.ndarray,
    matches: np.ndarray,
    rotation: np.ndarray,
    score: np.ndarray,
    below: float,
    scan: tuple[int, int] | None,
    symmetry: np.ndarray,
) -> None:
    """Patterns above their best matches; of a scan also the map of beam directions, grey where not indexed.

    Args:
        examples, matches: (E, n, n), observed and calculated.
        rotation, score: (N, 3, 3), (N,), first answers.
        below, scan, symmetry: as above.
    """
    with style():
        figure = Figure(figsize=(7.1, 2.6 if scan is None else 5.2), layout="constrained")
        parts = figure.subfigures(1 if scan is None else 2, 1, squeeze=False)[:, 0]
        axes = parts[0].subplots(2, len(examples), squeeze=False)
        for column, (seen, match) in enumerate(zip(examples, matches, strict=True)):
            axes[0, column].imshow(np.sqrt(np.clip(seen, 0, None)))
            axes[1, column].imshow(np.sqrt(np.clip(match, 0, None)))
        axes[0, 0].set_ylabel("observed")
        axes[1, 0].set_ylabel("best match")
        for axis in axes.flat:
            axis.set(xticks=[], yticks=[])
        if scan is not None:
            key = ColourKey.of(symmetry)
            colours = key.colours(rotation[:, 2].astype(float))
            colours[score < below] = 0.6
            left, right = parts[1].subplots(1, 2, width_ratios=[3, 1])
            left.imshow(colours.reshape(*scan, 3))
            left.set_title("beam in the crystal; grey: not indexed")
            picture, places = key.picture()
            right.imshow(picture)
            for (y, x), name in zip(places, key.corner_names(), strict=True):
                right.annotate(name, (x, y), ha="center", va="center", fontsize=7)
            without_ticks([left, right])
        figure.savefig(path, dpi=_DPI, metadata={"Software": None}, format="png")


def example_rows(score: np.ndarray) -> np.ndarray:
    """Which patterns are shown: evenly from the best score to the worst."""
    order = np.argsort(-score, kind="stable")
    return order[np.linspace(0, len(order) - 1, min(_EXAMPLES, len(order))).round().astype(int)]
