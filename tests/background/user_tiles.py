"""Raw tiles as a user might have them: a grid cut from one specimen before one flat field, with its layout."""

from pathlib import Path

import numpy as np
import tifffile
from scipy.ndimage import gaussian_filter

SIDE_PX, GRID, STEP_PX = 72, (2, 4), 48
DOSE, DARK = 4000.0, 100.0


def specimen(seed: int = 0) -> np.ndarray:
    """Optical density ≥ 0 of all that the grid covers; nothing in the first corner."""
    rng = np.random.default_rng(seed)
    shape = [(number - 1) * STEP_PX + SIDE_PX for number in GRID]
    density = np.maximum(gaussian_filter(rng.normal(size=shape), 2.0) * 1.5 - 0.05, 0)
    density[:16, :16] = 0
    return density


def flat_field(seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed + 100)
    y, x = np.mgrid[:SIDE_PX, :SIDE_PX] / SIDE_PX - 0.5
    return np.exp(-1.2 * (x**2 + y**2) + gaussian_filter(rng.normal(size=y.shape), 3) + 0.3 * x)


def corners() -> np.ndarray:
    """(N, 2) [y, x], row by row."""
    rows, columns = GRID
    return np.array([(STEP_PX * i, STEP_PX * j) for i in range(rows) for j in range(columns)])


def tiles(seed: int = 0) -> np.ndarray:
    """Counts uint16 (N, H, W)."""
    rng, density, flat = np.random.default_rng(seed + 200), specimen(seed), flat_field(seed)
    cut = [density[y : y + SIDE_PX, x : x + SIDE_PX] for y, x in corners()]
    return np.stack([rng.poisson(DOSE * flat * np.exp(-one)) + DARK for one in cut]).astype(np.uint16)


def references(count: int = 4, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed + 300)
    return (rng.poisson(DOSE * flat_field(seed), (count, SIDE_PX, SIDE_PX)) + DARK).astype(np.uint16)


def write(folder: Path, images: np.ndarray | None = None, ending: str = "tif") -> list[str]:
    """Write tiles into the folder, and their layout beside it; their names."""
    folder.mkdir(parents=True, exist_ok=True)
    images = tiles() if images is None else images
    names = [f"tile_{number}.{ending}" for number in range(1, len(images) + 1)]
    for name, image in zip(names, images, strict=True):
        tifffile.imwrite(folder / name, image)
    lines = [f"{name}; ; ({x:.1f}, {y:.1f})" for name, (y, x) in zip(names, corners(), strict=False)]
    (folder.parent / "TileConfiguration.txt").write_text("\n".join(["dim = 2", *lines]) + "\n")
    return names


def settings(folder: Path | str = ".", **changes) -> dict:
    """The entry of the configuration that fits."""
    entry = {
        "tiles": f"{folder}/tiles",
        "layout": f"{folder}/TileConfiguration.txt",
        "dark_counts": DARK,
        "neighbours": 4,
    }
    return {key: value for key, value in (entry | changes).items() if value is not None}
