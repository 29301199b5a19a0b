"""STAR files of RELION and Xmipp as they are found, and one sentence for each that is damaged."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from workflow_scripts.formats.star import numbers, parse_image_name, read_tables, resolve, write_tables
from workflow_scripts.workflow.errors import InputError

RELION = """
# version 30001

data_optics

loop_
_rlnOpticsGroup #1
_rlnOpticsGroupName #2
_rlnVoltage #3
           1 "group one"   300.000000


# version 30001

data_particles

loop_
_rlnImageName #1
_rlnAnglePsi #2
000001@Extract/job007/a#b.mrcs   12.500000
000002@Extract/job007/a#b.mrcs  -90.000000  # seen twice

"""
XMIPP = "# XMIPP_STAR_1 * \n# \ndata_noname\nloop_\n _image\n _anglePsi\n 000001@s.mrcs   1.5\n 000002@s.mrcs  -3.0\n"


def saved(folder, text, name="given.star"):
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


@pytest.mark.parametrize("ends", ["\n", "\r\n", "\r"])
def test_relions_tables_are_read(tmp_path, ends):
    assert read_tables(saved(tmp_path, RELION.replace("\n", ends))) == {
        "optics": {"rlnOpticsGroup": ["1"], "rlnOpticsGroupName": ["group one"], "rlnVoltage": ["300.000000"]},
        "particles": {
            "rlnImageName": ["000001@Extract/job007/a#b.mrcs", "000002@Extract/job007/a#b.mrcs"],
            "rlnAnglePsi": ["12.500000", "-90.000000"],
        },
    }


def test_xmipps_tables_and_single_items_are_read(tmp_path):
    assert read_tables(saved(tmp_path, XMIPP)) == {
        "noname": {"image": ["000001@s.mrcs", "000002@s.mrcs"], "anglePsi": ["1.5", "-3.0"]}
    }
    items = "\ufeffwords before\ndata_\n_rlnVoltage 300 # kV\n_rlnName 'two words'\ndata_b\n\nloop_\n_x\n"
    assert read_tables(saved(tmp_path, items)) == {
        "": {"rlnVoltage": ["300"], "rlnName": ["two words"]},
        "b": {"x": []},
    }


def test_an_image_may_be_called_like_a_block(tmp_path):
    text = "data_\nloop_\n_rlnImageName\n_rlnAnglePsi\ndata_1.mrcs 3\n"
    assert read_tables(saved(tmp_path, text))[""]["rlnImageName"] == ["data_1.mrcs"]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "is empty"),
        ("   \n", "is empty"),
        ("words\n", "found no block"),
        (b"\x00\x01MAP ", "is no text"),
        (b"data_a\nloop_\n_x\n\xff\n", "no UTF-8"),
        (RELION.replace("   12.500000", ""), "line 20 has 1 values where the table has 2 columns"),
        (RELION.replace("12.500000", "12.5 7"), "line 20 has 3 values"),
        (RELION[: RELION.rindex("job007")], "line 21 has 1 values"),
        (RELION.replace("_rlnAnglePsi #2", "_rlnImageName #2"), "the label _rlnImageName twice"),
        (RELION.replace("data_particles", "data_optics"), "a second block data_optics"),
        ("data_nonameloop_\n _image\n", "0 values behind the label _image"),  # as the published program wrote it
        ("data_a\nloop_\n_x 7\n", "1 values behind the label"),
        ("data_a\nloop_\nloop_\n_x\n", "a second loop_"),
        ("data_a\nwords\n", "has 'words'"),
        ("data_a\nloop_\nwords\n", "1 values where the table has 0"),
        ("data_a\n_\n", "twice or empty"),
        ("data_a\nloop_\n_x\n" + "y" * 1_000_000, "line 4 is too long"),
    ],
)
def test_damaged_tables_are_one_sentence(tmp_path, text, sentence):
    path = saved(tmp_path, text)
    with pytest.raises(InputError, match=sentence) as caught:
        read_tables(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_absent_or_a_folder_is_one_sentence(tmp_path):
    for path in (tmp_path / "absent.star", tmp_path):
        with pytest.raises(InputError, match="no such file"):
            read_tables(path)


@given(st.data())
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_damaged_table_is_read_or_is_one_sentence(tmp_path, data):
    whole = bytearray(RELION.encode())
    for position in data.draw(st.lists(st.integers(0, len(whole) - 1), min_size=1, max_size=8)):
        whole[position] = data.draw(st.sampled_from(list(b" \n\t\"'#_@;datloop0\x00\xff\xc3")))
    path = saved(tmp_path, bytes(whole[: data.draw(st.integers(20, len(whole)))]))
    try:
        for table in read_tables(path).values():
            assert len({len(column) for column in table.values()}) <= 1
    except InputError as error:
        assert "\n" not in str(error)


words = st.text(st.characters(blacklist_characters='"', blacklist_categories=("Cc", "Cs", "Zl", "Zp")), max_size=12)
names = st.text(st.sampled_from("abcXYZ0"), min_size=1, max_size=5)


@given(
    st.dictionaries(names, st.tuples(st.lists(words, min_size=2, max_size=2), st.integers(-(10**9), 10**9))),
    st.booleans(),
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_is_written_comes_back(tmp_path, blocks, xmipp):
    tables = {
        # A number first, as a row that begins with an underscore is a label to every reader.
        name: {"first": [number, -7], "second": texts, "third": np.array([0.5, -1e-7])}
        for name, (texts, number) in blocks.items()
    }
    path = tmp_path / "out.star"
    write_tables(path, tables, xmipp=xmipp)
    if blocks:
        assert read_tables(path) == {
            name: {"first": [str(number), "-7"], "second": texts, "third": ["0.500000", "-0.000000"]}
            for name, (texts, number) in blocks.items()
        }
    assert [item.name for item in tmp_path.iterdir()] == ["out.star"]


@pytest.mark.parametrize(
    "columns", [{"a": [1], "b": [1, 2]}, {"a": [float("nan")]}, {"a": ["two\nlines"]}, {"a": ['a "quote"s\' end']}]
)
def test_what_cannot_be_written_leaves_the_old_file_alone(tmp_path, columns):
    path = saved(tmp_path, "old")
    with pytest.raises(ValueError):
        write_tables(path, {"x": columns})
    assert path.read_text() == "old"
    assert [item.name for item in tmp_path.iterdir()] == ["given.star"]


def test_numbers_name_the_row_that_is_none(tmp_path):
    table = {"a": ["1", "2e1", "-3"]}
    assert numbers(table, "a", tmp_path, (-5, 20)) == [1, 20, -3]
    assert numbers(table, "b", tmp_path, (-5, 20)) is None
    for text in ("x", "nan", "inf", "21", ""):
        with pytest.raises(InputError, match=f"row 2 has '{text}' as a"):
            numbers({"a": ["1", text]}, "a", tmp_path, (-5, 20))
    with pytest.raises(InputError, match="row 9 "):
        numbers({"a": ["1", "x"]}, "a", tmp_path, (-5, 20), rows=[4, 9])


def test_image_names(tmp_path):
    assert parse_image_name("000012@a/b@c.mrcs", tmp_path, 1) == (12, "a/b@c.mrcs")
    assert parse_image_name("single.mrc", tmp_path, 1) == (None, "single.mrc")
    for text in ("0@a", "-1@a", "x@a", "@a", "1@", "", "٣@a", "1" * 20 + "@a"):
        with pytest.raises(InputError, match="row 8 names the image"):
            parse_image_name(text, tmp_path, 8)


def test_names_are_relative_to_the_list_or_to_a_folder_above_it(tmp_path):
    """The nearest wins; an absolute name is itself; what cannot be a name is nothing."""
    lists = tmp_path / "Class2D" / "job012"
    lists.mkdir(parents=True)
    for folder in (tmp_path, tmp_path / "Class2D"):
        (folder / "Extract").mkdir()
        (folder / "Extract" / "a.mrcs").touch()
    (tmp_path / "top.mrcs").touch()
    listing = lists / "run.star"
    assert resolve("Extract/a.mrcs", listing) == tmp_path / "Class2D" / "Extract" / "a.mrcs"
    assert resolve("top.mrcs", listing) == tmp_path / "top.mrcs"
    assert resolve("../../top.mrcs", listing).samefile(tmp_path / "top.mrcs")
    assert resolve(str(tmp_path / "top.mrcs"), listing) == tmp_path / "top.mrcs"
    for name in ("Extract", "absent.mrcs", "x" * 5000, "a\0b"):
        assert resolve(name, listing) is None
