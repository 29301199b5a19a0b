"""Reading photographs: every file that cannot be used is named in one sentence."""

from pathlib import Path

import numpy as np
import pytest
from skimage import io

from workflow_scripts.diffractive_imaging.simulation.photographs import large_enough, read_grey
from workflow_scripts.workflow.errors import InputError


def save(path: Path, image: np.ndarray) -> Path:
    io.imsave(path, image, check_contrast=False)
    return path


def picture(seed: int, side: int = 64) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 255, (side, side), dtype=np.uint8)


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


def test_photographs_that_are_too_small_are_left_out(tmp_path):
    paths = [save(tmp_path / f"{side}.png", picture(0, side)) for side in (63, 64, 100)]
    assert large_enough(paths, 64) == paths[1:]
