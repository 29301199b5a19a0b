"""One style: equal bytes, colours that everybody can tell apart."""

import itertools

import matplotlib
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_rgb
from skimage.color import rgb2lab

from workflow_scripts.study.figures import (
    COLUMN_MM,
    ESTIMATORS,
    estimator_style,
    new_figure,
    save_figure,
    style,
)

METHODS = {
    "diffractive_imaging": ["published", "corrected", "zeros", "ridge", "dpc", "ptychography"],
    "alignment": ["published", "corrected", "polar_pairwise", "polar_joint", "true_poses"],
    "potential": ["published", "corrected", "metadata_mean", "icom", "unet"],
    "background": [
        *(
            "published",
            "corrected",
            "gaussian",
            "maximum_2",
            "median_2",
            "median_4",
            "median_16",
            "eigen_flats",
            "unet",
        ),
    ],
    "matching": ["published", "corrected", "chance", "ncc", "polar_template", "untrained"],
}
# Machado, Oliveira & Fernandes, doi:10.1109/TVCG.2009.113, full severity; on linear RGB.
DEFICIENCIES = {
    "none": np.eye(3),
    "deuteranopia": np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
    ),
    "protanopia": np.array(
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
    ),
}


def draw(stem):
    table = pd.DataFrame({"period_px": [5.0, 12.0, 100.0], "transfer": [0.91, 0.49, 0.01]})
    with style():
        figure = new_figure()
        axes = figure.subplots()
        axes.plot(table["period_px"], table["transfer"], **estimator_style("published"), label="published")
        axes.set(xlabel="period / px", ylabel="transfer")
        axes.legend()
        save_figure(figure, table, stem)


def test_a_figure_drawn_twice_has_equal_bytes_whatever_the_users_settings(tmp_path):
    draw(tmp_path / "one" / "transfer")
    with matplotlib.rc_context({"font.size": 20, "svg.hashsalt": None, "lines.linewidth": 9}):
        draw(tmp_path / "two" / "transfer")
    names = sorted(path.name for path in (tmp_path / "one").iterdir())
    assert names == ["transfer.csv", "transfer.pdf", "transfer.png", "transfer.svg"]
    for name in names:
        content = (tmp_path / "one" / name).read_bytes()
        assert content == (tmp_path / "two" / name).read_bytes()
        assert matplotlib.__version__.encode() not in content
    assert (tmp_path / "one" / "transfer.csv").read_text() == "period_px,transfer\n5,0.91\n12,0.49\n100,0.01\n"


def test_a_figure_has_the_width_of_a_column():
    with style():
        assert new_figure().get_figwidth() * 25.4 == pytest.approx(COLUMN_MM)


def test_the_estimators_of_a_method_look_different_to_everybody():
    """A CIELAB distance of 10 is plain to see; the markers differ too, for a print in black."""
    assert {name for names in METHODS.values() for name in names} == set(ESTIMATORS)
    for names, matrix in itertools.product(METHODS.values(), DEFICIENCIES.values()):
        for one, other in itertools.combinations(names, 2):
            distance = np.linalg.norm(seen(one, matrix) - seen(other, matrix))
            assert distance > 10 and ESTIMATORS[one][1] != ESTIMATORS[other][1], (one, other, distance)


def seen(estimator, matrix):
    colour = np.array(to_rgb(ESTIMATORS[estimator][0]))
    linear = np.where(colour <= 0.04045, colour / 12.92, ((colour + 0.055) / 1.055) ** 2.4)
    linear = np.clip(matrix @ linear, 0, 1)
    return rgb2lab(np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055))


def test_an_estimator_of_a_new_method_gets_a_look_of_its_own_that_stays():
    assert estimator_style("magic") == estimator_style("magic")
    names = [f"estimator{number}" for number in range(20)]
    assert len({tuple(estimator_style(name).values()) for name in names}) > 10
