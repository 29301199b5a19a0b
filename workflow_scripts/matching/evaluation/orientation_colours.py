"""Colours of beam directions for any Laue group: the fundamental zone, its corners and its key.

A direction is replaced by its equivalent, inversion included, that is nearest to one fixed direction; these equivalents
form the zone. Three of its corners are red, green and blue; the colour of a direction mixes those of the corners.
"""

from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes

# It lies on no symmetry element of a crystal in its usual setting
_REFERENCE = np.array([0.45, 0.25, 0.86]) / np.linalg.norm([0.45, 0.25, 0.86])
# Two axes across it, the first near x
_FIRST = np.array([1.0, 0, 0]) - _REFERENCE[0] * _REFERENCE
_AXES = np.stack([_FIRST / np.linalg.norm(_FIRST), np.cross(_REFERENCE, _FIRST / np.linalg.norm(_FIRST))])
_SAMPLES = 20_000
_FLAT = 0.05


def in_zone(direction: np.ndarray, symmetry: np.ndarray) -> np.ndarray:
    """The equivalent of each beam direction (…, 3) in the zone.

    symmetry: (S, 3, 3) proper rotations of the Laue group; inversion is added.
    """
    images = np.einsum("...a,sab->...sb", direction, np.concatenate([symmetry, -symmetry]))
    best = (images @ _REFERENCE).argmax(axis=-1)
    return np.take_along_axis(images, best[..., None, None], axis=-2)[..., 0, :]


@dataclass(frozen=True)
class ColourKey:
    """The zone of a Laue group.

    Attributes:
        symmetry: (S, 3, 3) proper rotations.
        corners: (3, 3) directions of red, green and blue.
        reach: (3,) angle from each to the nearer of the others, where its channel ends, rad.
    """

    symmetry: np.ndarray
    corners: np.ndarray
    reach: np.ndarray

    @classmethod
    def of(cls, symmetry: np.ndarray) -> "ColourKey":
        """The key of a Laue group: the widest triangle of corners, red nearest to z, green nearest to x."""
        zone = in_zone(_sphere(), symmetry)
        zone /= np.linalg.norm(zone, axis=-1, keepdims=True)
        # The corners of the zone are among the directions that are extreme in some direction of their plane
        flat = _flat(zone)
        angles = np.linspace(0, 2 * np.pi, 720, endpoint=False)
        extreme = zone[np.unique((flat @ np.stack([np.cos(angles), np.sin(angles)])).argmax(axis=0))]
        extreme = extreme[:: max(1, len(extreme) // 60)] if len(extreme) > 90 else extreme
        volume = np.abs(np.einsum("ia,jka->ijk", extreme, np.cross(extreme[:, None], extreme[None])))
        corners = extreme[list(np.unravel_index(volume.argmax(), volume.shape))]
        red = int(corners[:, 2].argmax())
        green = max((place for place in range(3) if place != red), key=lambda place: corners[place, 0])
        corners = corners[[red, green, 3 - red - green]]
        between = np.arccos(np.clip(corners @ corners.T, -1, 1)) + 2 * np.pi * np.eye(3)
        reach = between.min(axis=0)
        return cls(symmetry, corners, reach)

    def colours(self, direction: np.ndarray) -> np.ndarray:
        """RGB (…, 3) in [0, 1] of beam directions (…, 3)."""
        moved = in_zone(direction, self.symmetry)
        if abs(np.linalg.det(self.corners)) > _FLAT:
            channels = np.clip(moved @ np.linalg.inv(self.corners), 0, None)
        else:  # a hemisphere's corners lie in its rim
            channels = np.clip(1 - np.arccos(np.clip(moved @ self.corners.T, -1, 1)) / self.reach, 0, 1)
        return np.sqrt(channels / np.maximum(channels.max(axis=-1, keepdims=True), 1e-9))

    def picture(self, side_px: int = 200) -> tuple[np.ndarray, np.ndarray]:
        """The zone in an equal-area projection about its middle.

        Returns:
            RGBA (n, n, 4), transparent outside; positions [y, x] of the corners in pixels (3, 2).
        """
        zone = _flat(in_zone(_sphere(), self.symmetry))
        low, high = zone.min(axis=0), zone.max(axis=0)
        step = (high - low).max() / (side_px - 1)
        rows = np.arange(int(np.ceil((high - low)[1] / step)) + 1)
        columns = np.arange(int(np.ceil((high - low)[0] / step)) + 1)
        x, y = low[0] + step * columns, high[1] - step * rows
        direction = _unflat(np.stack(np.meshgrid(x, y), axis=-1))
        known = np.isfinite(direction).all(axis=-1)
        direction[~known] = _REFERENCE
        moved = np.abs(in_zone(direction, self.symmetry) - direction).max(axis=-1) > 1e-9
        alpha = np.where(known & ~moved, 1.0, 0.0)
        corners = _flat(self.corners)
        places = np.stack([(high[1] - corners[:, 1]) / step, (corners[:, 0] - low[0]) / step], axis=-1)
        return np.concatenate([self.colours(direction), alpha[..., None]], axis=-1), places

    def draw(self, axis: Axes) -> None:
        """Draw the zone with the names of its corners beside them."""
        picture, places = self.picture()
        axis.imshow(picture)
        for name, (y, x) in zip(self.corner_names(), places, strict=True):
            is_left = x < picture.shape[1] / 2
            looks = {"ha": "right" if is_left else "left", "va": "center", "fontsize": 6, "annotation_clip": False}
            axis.annotate(name, (x, y), xytext=(-2 if is_left else 2, 0), textcoords="offset points", **looks)

    def corner_names(self) -> list[str]:
        """The corners in the crystal's Cartesian frame, the largest component 1."""
        scaled = self.corners / np.abs(self.corners).max(axis=-1, keepdims=True)
        return [" ".join(f"{0.0 + round(float(value), 1):g}" for value in corner) for corner in scaled]


def _sphere() -> np.ndarray:
    """Fibonacci directions (N, 3), with the axes and their diagonals, which corners of a zone often are."""
    count = np.arange(_SAMPLES)
    height = 1 - (2 * count + 1) / _SAMPLES
    turn = np.pi * (1 + 5**0.5) * count
    across = np.sqrt(1 - height**2)
    named = np.array(np.meshgrid(*[[-1.0, 0.0, 1.0]] * 3)).reshape(3, -1).T
    named = named[np.abs(named).sum(axis=1) > 0]
    named /= np.linalg.norm(named, axis=1, keepdims=True)
    return np.concatenate([np.stack([across * np.cos(turn), across * np.sin(turn), height], axis=-1), named])


def _flat(direction: np.ndarray) -> np.ndarray:
    """Lambert's equal-area projection (…, 2) about the reference direction."""
    across = direction @ _AXES.T
    return across * np.sqrt(2 / np.maximum(1 + direction @ _REFERENCE, 1e-9))[..., None]


def _unflat(place: np.ndarray) -> np.ndarray:
    """The direction (…, 3) of a place in the projection; NaN where there is none."""
    square = (place**2).sum(axis=-1, keepdims=True)
    with np.errstate(invalid="ignore"):
        across = place * np.sqrt(1 - square / 4)
    return across @ _AXES + (1 - square / 2) * _REFERENCE
