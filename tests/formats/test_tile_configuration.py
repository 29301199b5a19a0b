"""Layouts in Fiji's variants, and one sentence for each that is wrong."""

import pytest

from workflow_scripts.formats.tile_configuration import read_layout
from workflow_scripts.workflow.errors import InputError

HEAD = "# Define the number of dimensions we are working on\ndim = 2\n\n# Define the image coordinates\n"


def written(folder, text):
    path = folder / "TileConfiguration.txt"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


@pytest.mark.parametrize(
    "text",
    [
        HEAD + "a.tif; ; (1.5, 2)\nb.tif; ; (-3e1, 4.0)\n",
        HEAD.replace("\n", "\r\n") + "a.tif; ; (1.5, 2)\r\nb.tif; ; (-30, 4)",
        "\ufeffdim=2\nmultiseries = true\na.tif;0;(1.5,2)\n  C:\\tiles\\b.tif ; 1 ; ( -30 , 4 )  \n",
    ],
)
def test_fijis_variants_are_read_with_y_first(tmp_path, text):
    path = written(tmp_path, text)
    layout = read_layout(path)
    assert layout == {"a.tif": (2.0, 1.5), "b.tif": (4.0, -30.0)}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "names no tile"),
        (HEAD, "names no tile"),
        ("dim = 3\na.tif; ; (1, 2, 3)", "dim = 3"),
        ("a.tif; ; (1, 2, 3)", "two finite numbers"),
        ("a.tif; ; (1, nan)", "two finite numbers"),
        ("a.tif; ; (1, inf)", "two finite numbers"),
        ("a.tif; ; (1, x)", "two finite numbers"),
        ("a.tif; ; 1, 2", "line 1"),
        ("a.tif; ; (1, 2)\nb.tif (3, 4)", "line 2"),
        ("a.tif; ; (1, 2)\na.tif; ; (3, 4)", "a second time"),
        (b"a.tif; ; (1, \xff\xfe2)", "UTF-8"),
    ],
)
def test_mistakes_are_named(tmp_path, text, words):
    with pytest.raises(InputError, match=words):
        read_layout(written(tmp_path, text))


def test_an_absent_layout_is_named(tmp_path):
    with pytest.raises(InputError, match="cannot be read"):
        read_layout(tmp_path / "none.txt")
