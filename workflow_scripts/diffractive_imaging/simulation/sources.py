"""Which photographs exist and which of them are for training, validation and test; pictures are never decoded.

The rule file imports this while it is parsed, so it imports nothing heavy.
"""

import hashlib
from collections import Counter
from importlib.util import find_spec
from pathlib import Path

from workflow_scripts.formats.endings import JPEG, PNG, TIFF, has_ending
from workflow_scripts.workflow.errors import InputError
from workflow_scripts.workflow.files import sha256

SPLITS = ("train", "validation", "test")
# Left out on purpose: logo, chessboards, colour wheel, phantom, silhouettes and icons (drawings), the right
# half of the stereo pair (the same scene as the left), files of a few pixels.
_SHIPPED = {
    "skimage": (
        "data",
        "astronaut.png brick.png camera.png cell.png chelsea.png clock_motion.png coffee.png coins.png grass.png "
        "gravel.png hubble_deep_field.jpg ihc.png microaneurysms.png moon.png motorcycle_left.png page.png "
        "retina.jpg rocket.jpg text.png",
    ),
    "sklearn": ("datasets/images", "china.jpg flower.jpg"),
}


def photographs(folder: str | None, split: str, shard: int = 0, shards: int = 1) -> list[Path]:
    """The files that one shard of a split cuts its objects from.

    The split depends only on the names: in the order of their SHA-256 the first seventh (at least one) is for the
    test, the next for validation, the rest for training. Photographs are dealt out to the shards in turn, at least
    one each. Identical files count once, under the first name, so that no copy lies on both sides of the split.

    Args:
        folder: the user's folder, or None for the photographs that ship with scikit-image and scikit-learn.
        split: train, validation or test.
        shard: which of the `shards` training files; the one test file takes all photographs for testing.

    Raises:
        InputError: there is no such folder, or it holds fewer than three photographs.
    """
    files = shipped() if folder is None else _distinct(_listed(Path(folder)))
    if len(files) < len(SPLITS):
        raise InputError(
            f"found {len(files)} different photograph(s) in {folder}, expected at least {len(SPLITS)}"
            " (.png, .jpg, .tif), so that training, validation and test share none; add photographs"
        )
    order = sorted(files, key=lambda path: hashlib.sha256(path.name.encode()).digest())
    share = max(1, len(order) // 7)
    paths = {"test": order[:share], "validation": order[share : 2 * share], "train": order[2 * share :]}[split]
    if split == "test":
        return sorted(paths)
    return sorted(paths[shard::shards] or [paths[shard % len(paths)]])


def shipped() -> list[Path]:
    """The photographs in the wheels of scikit-image and scikit-learn, by name."""
    files = []
    for package, (folder, names) in _SHIPPED.items():
        root = Path(find_spec(package).origin).parent
        files += [root / folder / name for name in names.split()]
    return sorted(files, key=lambda path: path.name)


def _listed(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise InputError(f"there is no folder {folder}; correct the path, or null for those that ship")
    files = sorted(path for path in folder.iterdir() if has_ending(path, PNG + JPEG + TIFF) and path.is_file())
    for path in files:
        if {"{", "}"} & set(path.name):
            raise InputError(f"{path}: Snakemake reads braces in a name as a wildcard; rename the file")
    return files


def _distinct(files: list[Path]) -> list[Path]:
    """The files without copies; only files of the same size are read."""
    sizes = Counter(path.stat().st_size for path in files)
    distinct: dict[tuple[int, str], Path] = {}
    for path in files:
        size = path.stat().st_size
        distinct.setdefault((size, sha256(path) if sizes[size] > 1 else ""), path)
    return list(distinct.values())
