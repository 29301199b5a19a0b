"""Predicted against true orientations. Rotations (…, 3, 3) as in simulation/orientations.py: lab = R @ crystal.

| name | unit | meaning |
|---|---|---|
| top1, top5, top10, top15_percent_by_class | % | queries with a correct prediction among the first 1, 5, 10 or 15 |
| …_percent_by_class_half_turn | % | the same, but orientations rotated by 180° in the plane count as equal |
| mrr | 1 | mean of 1 / rank of the first correct prediction; 0 where none is correct |
| misorientation_deg_median | deg | of the first prediction, the smallest over the rotations of the Laue group |
| misorientation_deg_excess_median | deg | the same minus the query's distance to the gallery's nearest beam direction |
| floor_deg_median | deg | that distance: the error of the best choice in the gallery with a free in-plane angle |
| crystals_found_top10_percent | % | share of a pattern's crystals that are among the first ten predictions |
| not_indexed_auc | 1 | probability that the score of a pattern is above that of one without a crystal |

A prediction is correct when its misorientation is at most the tolerance, the in-plane angle included; in a pattern of
two crystals the nearer one counts. The half turn is not a symmetry of a pattern, since the Ewald sphere is curved, so
it has separate metrics.
"""

from collections.abc import Mapping

import numpy as np

from workflow_scripts.matching.simulation.misorientation import misorientation_deg

TOPS = (1, 5, 10, 15)
BY_CLASS = {top: f"top{top}_percent_by_class" for top in TOPS}
BY_HALF_TURN = {top: f"{name}_half_turn" for top, name in BY_CLASS.items()}
CRYSTALS = "crystals_found_top10_percent"
MRR, AUC = "mrr", "not_indexed_auc"
DEG, EXCESS, FLOOR = "misorientation_deg_median", "misorientation_deg_excess_median", "floor_deg_median"
UNITS = {
    **dict.fromkeys((*BY_CLASS.values(), *BY_HALF_TURN.values(), CRYSTALS), "%"),
    **{MRR: "1", DEG: "deg", EXCESS: "deg", FLOOR: "deg"},
}
MEDIANS = (DEG, EXCESS, FLOOR)
HALF_TURN = np.diag([-1.0, -1.0, 1.0])  # in the plane of the detector


def by_rank(
    rotation: np.ndarray,
    true: np.ndarray,
    second: np.ndarray,
    two: np.ndarray,
    symmetry: np.ndarray,
    tolerance_deg: float,
) -> dict[str, np.ndarray]:
    """Metrics of every query (Q,) that need neither the gallery nor the score.

    Args:
        rotation: (Q, K, 3, 3) predictions, best first, K at least 15.
        true, second: (Q, 3, 3) orientations of its crystals; the second counts where `two` (Q,) is set.
    """
    deg_by_crystal = np.full((2, *rotation.shape[:2]), np.inf)
    half_turn_deg_by_crystal = deg_by_crystal.copy()
    for place, (truth, rows) in enumerate(((true, np.ones(len(true), bool)), (second, two))):
        deg_by_crystal[place, rows] = misorientation_deg(rotation[rows], truth[rows], symmetry)
        half_turn_deg = misorientation_deg(rotation[rows], HALF_TURN @ truth[rows], symmetry)
        half_turn_deg_by_crystal[place, rows] = np.minimum(deg_by_crystal[place, rows], half_turn_deg)
    nearer_deg = deg_by_crystal.min(axis=0)
    right = nearer_deg <= tolerance_deg
    first = np.where(right.any(axis=1), right.argmax(axis=1) + 1.0, np.inf)
    has_first, has_second = ((degrees[:, :10] <= tolerance_deg).any(axis=1) for degrees in deg_by_crystal)
    return {
        **_shares(right, BY_CLASS),
        **_shares(half_turn_deg_by_crystal.min(axis=0) <= tolerance_deg, BY_HALF_TURN),
        CRYSTALS: 100.0 * (has_first + has_second * 1.0) / (1 + two),
        MRR: 1 / first,
        DEG: nearer_deg[:, 0],
    }


def _shares(right: np.ndarray, names: Mapping[int, str]) -> dict[str, np.ndarray]:
    """100 where one of the first predictions is correct, else 0."""
    return {name: 100.0 * right[:, :top].any(axis=1) for top, name in names.items()}


def chance_percent(tolerance_deg: float, operations: int, top: int = 1) -> float:
    """Probability that one of `top` independent random orientations is correct, %.

    A share (ω − sin ω) / π of all rotations has an angle below ω; the balls around the operations of the Laue group do
    not overlap while ω is below half the smallest angle of the group.
    """
    angle = np.radians(tolerance_deg)
    once = operations * (angle - np.sin(angle)) / np.pi
    return float(100 * (1 - (1 - once) ** top))


def roc(score: np.ndarray, of_crystal: np.ndarray, false_share: np.ndarray) -> np.ndarray:
    """Share of patterns of crystals that score above the threshold which `false_share` of the other patterns exceed."""
    thresholds = np.quantile(score[~of_crystal], 1 - false_share)
    return (score[of_crystal][None] > thresholds[:, None]).mean(axis=1)
