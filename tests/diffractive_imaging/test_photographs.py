from pathlib import Path

import numpy as np
import pytest
from skimage import io

from workflow_scripts.diffractive_imaging.photographs import load_photographs, read_grey, split_photographs
from workflow_scripts.workflow.errors import InputError


def save(path: Path, image: np.ndarray) -> Path:
    io.imsave(path, image, check_contrast=False)
    return path


def picture(seed: int, side: int = 64) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 255, (side, side), dtype=np.uint8)


def test_the_shipped_photographs_are_there_and_usable():
    photographs = load_photographs(None, 48)
    assert len(photographs) == 21
    assert "motorcycle_right.png" not in photographs  # the same scene as the left one
    assert all(
        image.dtype == np.float32 and 0 <= image.min() < image.max() <= 1 for image in photographs.values()
    )


@pytest.mark.parametrize("count", [3, 7, 21, 40])
def test_splits_share_no_photograph_and_lose_none(count):
    names = [f"photo{k}.png" for k in range(count)]
    split = split_photographs(names)
    assert sorted(name for part in split.values() for name in part) == sorted(names)
    assert all(split.values())
    assert split == split_photographs(names[::-1])


def test_a_folder_of_the_user(tmp_path):
    for k, suffix in enumerate((".png", ".jpg", ".tif")):
        save(tmp_path / f"photo{k}{suffix}", picture(k))
    save(tmp_path / "zz_copy.png", picture(0))  # the same pixels under another name
    save(tmp_path / "rgb.png", np.stack([picture(9)] * 3, axis=-1))
    (tmp_path / "notes.txt").write_text("not looked at")
    assert list(load_photographs(tmp_path, 48)) == ["photo0.png", "photo1.jpg", "photo2.tif", "rgb.png"]


def truncated(path: Path) -> None:
    whole = save(path, picture(0)).read_bytes()
    path.write_bytes(whole[: len(whole) // 2])


BAD_FILES = {
    "truncated.png": truncated,
    "truncated.jpg": truncated,
    "text.png": lambda path: path.write_text("not an image"),
    "empty.tif": lambda path: path.write_bytes(b""),
    "nan.tif": lambda path: save(path, np.full((64, 64), np.nan, dtype=np.float32)),
    "small.png": lambda path: save(path, picture(0, 20)),
    "flat.png": lambda path: save(path, np.full((64, 64), 7, dtype=np.uint8)),
    "stack.tif": lambda path: save(path, np.zeros((5, 64, 64), dtype=np.uint8)),
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_a_bad_file_gives_one_sentence_that_names_it(tmp_path, name):
    BAD_FILES[name](tmp_path / name)
    with pytest.raises(InputError, match=name) as caught:
        read_grey(tmp_path / name, 48)
    assert "\n" not in str(caught.value) and "expected" in str(caught.value)


def test_missing_and_empty_and_poor_folders(tmp_path):
    with pytest.raises(InputError, match="no such folder"):
        load_photographs(tmp_path / "missing", 48)
    with pytest.raises(InputError, match="no image"):
        load_photographs(tmp_path, 48)
    save(tmp_path / "one.png", picture(0))
    with pytest.raises(InputError, match="at least 3"):
        load_photographs(tmp_path, 48)
