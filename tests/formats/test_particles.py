"""Particles are the same from a stack, a .star or an .xmd; what is wrong is one sentence with its row."""

import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from workflow_scripts.formats.mrc import StackWriter
from workflow_scripts.formats.particles import (
    CtfParameters,
    index_batches,
    open_particles,
    spaced,
    write_star,
    write_xmd,
)
from workflow_scripts.formats.star import read_tables, write_tables
from workflow_scripts.optics.ctf import ctf
from workflow_scripts.workflow.errors import InputError

N = 16
OLD = """data_

loop_
_rlnMicrographName
_rlnDefocusU
_rlnVoltage
_rlnSphericalAberration
_rlnAmplitudeContrast
_rlnDetectorPixelSize
_rlnMagnification
_rlnImageName
_rlnAnglePsi
_rlnOriginX
_rlnOriginY
m.mrc 12000 200 2.0 0.1 5.0 40000 2@a.mrcs 10 1.5 -2
m.mrc 13000 200 2.0 0.1 5.0 40000 1@a.mrcs 20 0 3
"""
XMIPP = """# XMIPP_STAR_1 *
data_noname
loop_
 _enabled
 _image
 _anglePsi
 _shiftX
 _shiftY
 _flip
 _ctfQ0
 _ctfVoltage
 _ctfSphericalAberration
 _ctfDefocusU
 1 000003@a.mrcs 30 1 2 0 -0.07 300 2.7 9000
-1 000001@gone.mrcs 0 0 0 1 -0.07 300 2.7 9000
 1 000001@sub/b.mrcs 60 0 0 0 -0.07 300 2.7 9500
"""


def particles_of(count, seed, density=1.0):
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:N, :N] - N // 2
    return (rng.normal(size=(count, N, N)) + density * np.exp(-(x**2 + y**2) / 18)).astype(np.float32)


def stored(path, images, pixel_size_a=1.25):
    path.parent.mkdir(exist_ok=True)
    with StackWriter(path, images.shape[-1], pixel_size_a) as out:
        out.write(images)
    return path


@pytest.fixture
def folder(tmp_path):
    stored(tmp_path / "a.mrcs", particles_of(4, 1))
    stored(tmp_path / "sub" / "b.mrcs", particles_of(3, 2))
    return tmp_path


def saved(folder, text, name="given.star"):
    (folder / name).write_text(text)
    return folder / name


def parameters(count):
    step = np.arange(count)
    return CtfParameters(
        10_000.0 + step, 9_000.0 + step, 15.0 * step, 300.0 - 100 * (step % 2), 2.7 + 0 * step, 0.07 + 0 * step,
        50.0 + 0 * step, 0.0 * step,
    )  # fmt: skip


def test_a_stack_is_particles(folder):
    particles = open_particles(folder / "a.mrcs")
    assert (len(particles), particles.box_px, particles.ctf, particles.poses()) == (4, N, None, None)
    assert particles.pixel_size_a == pytest.approx(1.25)
    assert np.array_equal(particles.read(np.arange(4)), particles_of(4, 1))


def test_relions_old_form_has_its_pixel_size_in_the_magnification(folder):
    particles = open_particles(saved(folder, OLD))
    assert particles.pixel_size_a == pytest.approx(1.25)  # 5 µm / 40,000
    assert np.array_equal(particles.read(np.arange(2)), particles_of(4, 1)[[1, 0]])
    assert particles.ctf.defocus_u_a.tolist() == particles.ctf.defocus_v_a.tolist() == [12_000, 13_000]
    assert particles.ctf.voltage_kv.tolist() == [200, 200]
    angle_deg, shift_px = particles.poses()
    assert angle_deg.tolist() == [350, 340]
    assert shift_px.tolist() == [[2, -1.5], [-3, 0]]


def test_xmipps_list_leaves_out_what_is_not_enabled(folder):
    particles = open_particles(saved(folder, XMIPP, "given.xmd"))
    assert particles.rows.tolist() == [1, 3]
    assert "1 particles that are not enabled" in particles.remarks[0]
    assert np.array_equal(particles.read(np.arange(2)), [particles_of(4, 1)[2], particles_of(3, 2)[0]])
    assert particles.ctf.amplitude_contrast.tolist() == [0.07, 0.07]
    assert particles.poses()[0].tolist() == [30, 60]


@pytest.mark.parametrize("with_ctf", [True, False])
@pytest.mark.parametrize("ending", ["star", "xmd"])
def test_what_is_written_comes_back(folder, ending, with_ctf):
    (folder / "out").mkdir()
    path = folder / "out" / f"aligned.{ending}"
    given_particles = open_particles(saved(folder, XMIPP, "given.xmd"))
    names = given_particles.image_names(path.parent)
    assert names == ["000003@../a.mrcs", "000001@../sub/b.mrcs"]
    found = {"angle_deg": np.array([12.0, 300.5]), "shift_px": np.array([[1.0, -2.0], [0.25, 7.0]])}
    found |= {"score": np.array([0.5, 0.25]), "ctf": parameters(2) if with_ctf else None}
    if ending == "star":
        write_star(path, names, **found, box_px=N, pixel_size_a=1.25)
    else:
        write_xmd(path, names, **found)
    again = open_particles(path)
    assert again.pixel_size_a == pytest.approx(1.25)
    assert np.array_equal(again.read(np.arange(2)), given_particles.read(np.arange(2)))
    for value, expected in zip(again.poses(), (found["angle_deg"], found["shift_px"]), strict=True):
        assert np.abs(value - expected).max() < 1e-5
    if not with_ctf:
        assert again.ctf is None
        return
    for label, value in vars(again.ctf).items():
        if ending == "star" or label != "b_factor_a2":  # Xmipp has no column for it
            assert np.allclose(value, getattr(parameters(2), label)), label
    values = ctf(N, 1.25, **{label: torch.from_numpy(value) for label, value in vars(again.ctf).items()})
    assert values.shape == (2, N, N // 2 + 1)


def test_the_star_has_what_relion_demands(folder):
    """One optics group for each microscope, all labels known, and what the particles brought along."""
    path, count = folder / "aligned.star", 3
    carried = {"rlnMicrographName": ["m"] * count, "rlnOriginX": ["9"] * count, "rlnMagnification": ["1"] * count}
    poses = np.zeros(count), np.zeros((count, 2))
    names = open_particles(folder / "sub" / "b.mrcs").image_names(folder)
    write_star(path, names, *poses, box_px=N, pixel_size_a=None, ctf=parameters(count), carried=carried)
    tables = read_tables(path)
    assert list(tables) == ["optics", "particles"]
    assert tables["optics"]["rlnVoltage"] == ["200.000000", "300.000000"]
    assert tables["particles"]["rlnOpticsGroup"] == ["2", "1", "2"]
    assert tables["optics"]["rlnImagePixelSize"] == ["1.000000"] * 2
    assert {"rlnOpticsGroupName", "rlnImageSize", "rlnImageDimensionality"} < set(tables["optics"])
    assert {"rlnMicrographName", "rlnImageName"} < set(tables["particles"])
    assert not {"rlnOriginX", "rlnMagnification"} & set(tables["particles"])


def test_a_list_deep_in_a_project_finds_its_stacks(folder):
    (folder / "Class2D" / "job3").mkdir(parents=True)
    path = saved(folder / "Class2D" / "job3", OLD.replace("a.mrcs", "sub/b.mrcs"))
    assert np.array_equal(open_particles(path).read(np.array([0])), particles_of(3, 2)[1:2])


def test_subsets_and_batches(folder):
    particles = open_particles(saved(folder, OLD * 1))
    chosen = particles.subset(np.array([1, 0, 1]))
    assert np.array_equal(chosen.read(np.arange(3)), particles.read(np.array([1, 0, 1])))
    assert chosen.ctf.defocus_u_a.tolist() == [13_000, 12_000, 13_000]
    assert chosen.columns["rlnImageName"] == ["1@a.mrcs", "2@a.mrcs", "1@a.mrcs"]
    assert [indices.tolist() for indices in index_batches(3, 2)] == [[0, 1], [2]]
    assert spaced(10, 4).tolist() == [0, 3, 6, 9]


@pytest.mark.parametrize("density", [2.0, -2.0])
@pytest.mark.parametrize("offset", [0.0, 30_000.0])
def test_the_sign_of_density_is_found_and_mended(tmp_path, density, offset):
    images = particles_of(100, 5, density) + np.float32(offset)
    particles = open_particles(stored(tmp_path / "given.mrcs", images))
    sign, ratio = particles.density_sign()
    assert sign == np.sign(density)
    assert ratio > 3
    assert np.array_equal(replace(particles, sign=sign).read(np.arange(100)), sign * images)
    assert replace(particles, sign=-1).density_sign()[0] == sign  # what the file holds does not depend on the choice


def test_noise_has_no_sign(tmp_path):
    ratios = [
        open_particles(stored(tmp_path / f"{seed}.mrcs", particles_of(50, seed, 0.0))).density_sign()[1]
        for seed in range(20)
    ]
    assert np.mean(np.array(ratios) > 2) < 0.3
    flat = open_particles(stored(tmp_path / "flat.mrcs", np.ones((3, N, N), dtype=np.float32)))
    assert np.isinf(flat.density_sign()[1])


NEW = """data_optics
loop_
_rlnOpticsGroup
_rlnVoltage
_rlnSphericalAberration
_rlnAmplitudeContrast
_rlnImagePixelSize
1 300 2.7 0.1 1.25
data_particles
loop_
_rlnImageName
_rlnOpticsGroup
_rlnDefocusU
_rlnAnglePsi
1@a.mrcs 1 9000 1
2@a.mrcs 1 9100 2
1@sub/b.mrcs 1 9200 3
"""


def test_relions_new_form_joins_the_optics(folder):
    particles = open_particles(saved(folder, NEW))
    assert particles.ctf.cs_mm.tolist() == [2.7] * 3
    without_group = NEW.replace("_rlnOpticsGroup\n_rlnDefocusU", "_rlnDefocusU").replace(" 1 9", " 9")
    assert open_particles(saved(folder, without_group)).ctf.voltage_kv.tolist() == [300] * 3


@pytest.mark.parametrize(
    ("found", "instead", "sentence"),
    [
        ("2@a.mrcs", "5@a.mrcs", "row 2 names image 5 of .*a.mrcs, which has 4"),
        ("2@a.mrcs", "2@absent.mrcs", "row 2 names the stack absent.mrcs, which is neither"),
        ("2@a.mrcs", "2@../../../absent", "row 2 names the stack"),
        ("2@a.mrcs", "0@a.mrcs", "row 2 names the image '0@a.mrcs'"),
        ("2@a.mrcs", "a.mrcs", "row 2 names a.mrcs, a stack of 4 images, without saying which"),
        ("2@a.mrcs", "1@given.star", "row 2 names a stack that cannot be used: .*given.star"),
        ("2@a.mrcs", "1@small.mrcs", "row 2 names an image of 12 × 12 pixels, the first has 16"),
        ("2@a.mrcs 1", "2@a.mrcs 2", "row 2 belongs to the optics group '2'"),
        ("9100", "nan", "row 2 has 'nan' as rlnDefocusU"),
        ("2.7 0.1 1.25", "2.7 0.1 0", "row 1 has '0' as rlnImagePixelSize"),
        ("2.7 0.1", "2.7 7", "row 1 has '7' as rlnAmplitudeContrast"),
        ("_rlnVoltage", "_rlnOther", "has a defocus but no rlnVoltage"),
        ("rlnImageName", "rlnMicrographName", "no block has a column rlnImageName, found data_optics, data_particles"),
        (NEW[NEW.index("1@a") :], "", "lists no particles"),
    ],
)
def test_damaged_lists_are_one_sentence(folder, found, instead, sentence):
    stored(folder / "small.mrcs", np.zeros((1, 12, 12), dtype=np.float32))
    path = saved(folder, NEW.replace(found, instead))
    with pytest.raises(InputError, match=sentence) as caught:
        open_particles(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_particles_of_two_pixel_sizes_are_refused(folder):
    text = NEW.replace("1.25\n", "1.25\n2 300 2.7 0.1 1.5\n").replace("b.mrcs 1", "b.mrcs 2")
    with pytest.raises(InputError, match=r"from 1.25 to 1.5 Å"):
        open_particles(saved(folder, text))


def test_poses_that_cannot_be_ours_are_one_sentence(folder):
    flipped = open_particles(saved(folder, XMIPP.replace("60 0 0 0", "60 0 0 1"), "given.xmd"))
    with pytest.raises(InputError, match="row 3 is flipped"):
        flipped.poses()
    unknown = saved(folder, NEW.replace("_rlnImagePixelSize", "_rlnOther").replace("_rlnDefocusU", "_rlnOriginXAngst"))
    stored(folder / "a.mrcs", particles_of(4, 1), None)
    with pytest.raises(InputError, match="offsets in Å but no pixel size"):
        open_particles(unknown).poses()


def test_other_endings_are_one_sentence(folder):
    with pytest.raises(InputError, match=re.escape("found the ending '.tif', expected .mrcs, .star or .xmd")):
        open_particles(folder / "given.tif")


@given(st.data())
@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_damaged_list_is_read_or_is_one_sentence(tmp_path, data):
    """Characters changed, lines cut: whatever is read has its images, its CTF and its poses, or there is a sentence."""
    if not (tmp_path / "a.mrcs").exists():
        stored(tmp_path / "a.mrcs", particles_of(4, 1))
        stored(tmp_path / "sub" / "b.mrcs", particles_of(3, 2))
    ending, text = data.draw(st.sampled_from([("star", NEW), ("star", OLD), ("xmd", XMIPP)]))
    letters = list(text)
    for position in data.draw(st.lists(st.integers(0, len(text) - 1), min_size=1, max_size=4)):
        letters[position] = data.draw(st.sampled_from(list("09.-e@# _\n\"'/\0é")))
    path = saved(tmp_path, "".join(letters)[: data.draw(st.integers(30, len(text)))], f"given.{ending}")
    try:
        particles = open_particles(path)
        assert particles.read(np.arange(len(particles))).shape == (len(particles), N, N)
        if particles.ctf is not None:
            assert all(len(value) == len(particles) for value in vars(particles.ctf).values())
        particles.poses()
    except InputError as error:
        assert "\n" not in str(error)
        assert str(path) in str(error)


def test_a_long_list_is_read_once(tmp_path):
    """The header of a stack is looked at once, not for every row."""
    stored(tmp_path / "a.mrcs", particles_of(4, 1))
    path = tmp_path / "long.star"
    write_tables(path, {"particles": {"rlnImageName": ["000002@a.mrcs"] * 5000}})
    particles = open_particles(path)
    assert (len(particles), len(particles.stacks)) == (5000, 1)
