"""How far answers are from the true orientation. Rotations (…, 3, 3) as in orientations.py: lab = R @ crystal.

| name | unit | meaning |
|---|---|---|
| top1, top5, top10, top15_percent_by_class | % | queries with a right answer among so many first ones |
| …_percent_by_class_half_turn | % | the same where a pattern turned by 180° in its plane counts as equal |
| mrr | 1 | mean of 1 / place of the first right answer; 0 where no answer that is kept is right |
| misorientation_deg_median | deg | of the first answer, the smallest over the rotations of the Laue group |
| misorientation_deg_excess_median | deg | the same less the query's distance to the gallery's nearest beam direction |
| floor_deg_median | deg | that distance: what the best choice in the gallery errs by, the in-plane angle being free |
| crystals_found_top10_percent | % | share of a pattern's crystals that are among the first ten answers |
| not_indexed_auc | 1 | probability that the score of a pattern is above that of one without a crystal |

An answer is right when its misorientation is at most the tolerance, the in-plane angle included; of a pattern of two
crystals that from the nearer one counts. The half turn is no symmetry of a pattern, for the Ewald sphere is curved; it
is counted beside, not in.
"""

from collections.abc import Mapping

import numpy as np
from scipy.spatial import cKDTree

TOPS = (1, 5, 10, 15)
BY_CLASS = {top: f"top{top}_percent_by_class" for top in TOPS}
BY_HALF_TURN = {top: f"{name}_half_turn" for top, name in BY_CLASS.items()}
CRYSTALS = "crystals_found_top10_percent"
MRR, DEG, EXCESS, FLOOR, AUC = (
    *("mrr", "misorientation_deg_median", "misorientation_deg_excess_median"),
    *("floor_deg_median", "not_indexed_auc"),
)
UNITS = {
    **dict.fromkeys((*BY_CLASS.values(), *BY_HALF_TURN.values(), CRYSTALS), "%"),
    **{MRR: "1", DEG: "deg", EXCESS: "deg", FLOOR: "deg"},
}
MEDIANS = (DEG, EXCESS, FLOOR)
_HALF_TURN = np.diag([-1.0, -1.0, 1.0])


def misorientation_deg(answers: np.ndarray, true: np.ndarray, symmetry: np.ndarray) -> np.ndarray:
    """Smallest angle of the rotation between answers (Q, K, 3, 3) and true orientations (Q, 3, 3): (Q, K), degrees.

    symmetry: (S, 3, 3) proper rotations of the Laue group in the crystal's frame.
    """
    # angle(R1 S R2ᵀ) by the trace tr(S R2ᵀ R1) chooses S
    between = true.swapaxes(-1, -2)[:, None] @ answers
    flat = between.swapaxes(-1, -2).reshape(*between.shape[:2], 9)
    best = (flat @ symmetry.reshape(-1, 9).T).argmax(axis=-1)
    # |R − 1| / (2√2) is the sine of half the angle; unlike the trace it is exact for small ones
    distance = np.linalg.norm(between - symmetry[best].swapaxes(-1, -2), axis=(-2, -1))
    return np.degrees(2 * np.arcsin(np.clip(distance / np.sqrt(8.0), 0, 1)))


def half_turned(rotation: np.ndarray) -> np.ndarray:
    """The orientations (…, 3, 3) after half a turn in the plane of the detector."""
    return _HALF_TURN @ rotation


def nearest_direction(
    rotation: np.ndarray, gallery: np.ndarray, symmetry: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The gallery's beam direction that is nearest to that of every orientation (Q, 3, 3), by symmetry.

    Returns:
        the distance in degrees, the row of the gallery (G, 3, 3), the row of the symmetry (S, 3, 3), each (Q,):
        rotation ≈ Rz(psi) @ gallery @ symmetry.
    """
    directions = np.einsum("ga,sab->gsb", gallery[:, 2], symmetry).reshape(-1, 3)
    chord, place = cKDTree(directions).query(rotation[:, 2])
    row, operation = np.divmod(place, len(symmetry))
    return np.degrees(2 * np.arcsin(np.clip(chord / 2, 0, 1))), row, operation


def by_rank(
    rotation: np.ndarray,
    true: np.ndarray,
    second: np.ndarray,
    two: np.ndarray,
    symmetry: np.ndarray,
    tolerance_deg: float,
) -> dict[str, np.ndarray]:
    """Metrics of every query but those that need the gallery or the score, (Q,) each.

    Args:
        rotation: (Q, K, 3, 3) answers, best first, K at least 15.
        true, second: (Q, 3, 3) orientations of its crystals; the second counts where `two` (Q,) is set.
    """
    each_deg = np.full((2, *rotation.shape[:2]), np.inf)
    each_turned_deg = each_deg.copy()
    for place, (truth, rows) in enumerate(((true, np.ones(len(true), bool)), (second, two))):
        each_deg[place, rows] = misorientation_deg(rotation[rows], truth[rows], symmetry)
        turned_deg = misorientation_deg(rotation[rows], half_turned(truth[rows]), symmetry)
        each_turned_deg[place, rows] = np.minimum(each_deg[place, rows], turned_deg)
    nearer_deg = each_deg.min(axis=0)
    right = nearer_deg <= tolerance_deg
    first = np.where(right.any(axis=1), right.argmax(axis=1) + 1.0, np.inf)
    has_first, has_second = ((degrees[:, :10] <= tolerance_deg).any(axis=1) for degrees in each_deg)
    return {
        **_shares(right, BY_CLASS),
        **_shares(each_turned_deg.min(axis=0) <= tolerance_deg, BY_HALF_TURN),
        CRYSTALS: 100.0 * (has_first + has_second * 1.0) / (1 + two),
        MRR: 1 / first,
        DEG: nearer_deg[:, 0],
    }


def _shares(right: np.ndarray, names: Mapping[int, str]) -> dict[str, np.ndarray]:
    """100 where one of so many first answers is right, else 0."""
    return {name: 100.0 * right[:, :top].any(axis=1) for top, name in names.items()}


def chance_percent(tolerance_deg: float, operations: int, top: int = 1) -> float:
    """Probability that one of `top` independent random orientations is right, %.

    (ω − sin ω) / π of all rotations turn by less than ω; each operation of the Laue group has its own such ball, and
    they do not meet while ω is below half the smallest angle of the group.
    """
    angle = np.radians(tolerance_deg)
    once = operations * (angle - np.sin(angle)) / np.pi
    return float(100 * (1 - (1 - once) ** top))


def auc(score: np.ndarray, of_crystal: np.ndarray) -> float:
    """Area under the curve of `score` telling patterns of a crystal (True) from those of none; ties count half."""
    n = int(of_crystal.sum())
    others = len(score) - n
    if not n or not others:
        return float("nan")
    _, place, ties = np.unique(score, return_inverse=True, return_counts=True)
    rank = (np.cumsum(ties) - (ties - 1) / 2)[place]  # equal scores share the mean of their ranks
    return float((rank[of_crystal].sum() - n * (n + 1) / 2) / (n * others))


def roc(score: np.ndarray, of_crystal: np.ndarray, false_share: np.ndarray) -> np.ndarray:
    """Share of the crystals' patterns above the threshold that so many of the others exceed."""
    thresholds = np.quantile(score[~of_crystal], 1 - false_share)
    return (score[of_crystal][None] > thresholds[:, None]).mean(axis=1)
