"""The split of photographs into training, validation and test: disjoint and complete."""

import numpy as np
import pytest
from skimage import io

from workflow_scripts.diffractive_imaging.simulation.photographs import read_grey
from workflow_scripts.diffractive_imaging.simulation.sources import SPLITS, photographs, shipped
from workflow_scripts.workflow.errors import InputError


def folder_of(path, count):
    for k in range(count):
        (path / f"photo{k}.png").write_bytes(bytes([k]) * (100 + k))
    return str(path)


def test_the_shipped_photographs_are_there_and_usable():
    images = {path.name: read_grey(path, 64) for path in shipped()}
    assert len(images) == 21
    assert "motorcycle_right.png" not in images  # the same scene as the left one
    assert all(image.dtype == np.float32 and 0 <= image.min() < image.max() <= 1 for image in images.values())


@pytest.mark.parametrize("count", [3, 7, 21, 40])
@pytest.mark.parametrize("shards", [1, 2, 5])
def test_splits_share_no_photograph_and_lose_none(tmp_path, count, shards):
    folder = folder_of(tmp_path, count)
    by_split = {
        split: {path.name for shard in range(shards) for path in photographs(folder, split, shard, shards)}
        for split in SPLITS
    }
    assert all(by_split.values())
    assert sum(map(len, by_split.values())) == count == len(set.union(*by_split.values()))
    assert all(photographs(folder, split, shard, shards) for split in SPLITS for shard in range(shards))


def test_a_copy_under_another_name_counts_once(tmp_path):
    folder = folder_of(tmp_path, 6)
    (tmp_path / "another.png").write_bytes((tmp_path / "photo3.png").read_bytes())
    names = [path.name for split in SPLITS for path in photographs(folder, split)]
    assert len(names) == 6
    assert "another.png" in names
    assert "photo3.png" not in names


def test_only_images_are_listed(tmp_path):
    folder = folder_of(tmp_path, 3)
    io.imsave(tmp_path / "a.tif", np.eye(64, dtype=np.uint8) * 255, check_contrast=False)
    (tmp_path / "notes.txt").write_text("not looked at")
    assert sum(len(photographs(folder, split)) for split in SPLITS) == 4


def test_missing_and_poor_folders(tmp_path):
    with pytest.raises(InputError, match="there is no folder"):
        photographs(str(tmp_path / "missing"), "train")
    with pytest.raises(InputError, match="found 0 different"):
        photographs(str(tmp_path), "train")
    with pytest.raises(InputError, match="found 2 different"):
        photographs(folder_of(tmp_path, 2), "test")
