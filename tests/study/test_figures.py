"""One style: equal bytes, colours that everybody can tell apart."""

import itertools

import matplotlib
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_rgb
from skimage.color import rgb2lab

from workflow_scripts.study.estimators import read_registry
from workflow_scripts.study.figures import COLUMN_MM, new_figure, save_figure, style
from workflow_scripts.workflow.closure import ROOT

REGISTRIES = [read_registry(path) for path in sorted((ROOT / "workflow_scripts").glob("*/estimators.yaml"))]
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
        axes.plot(table["period_px"], table["transfer"], color="#0072B2", marker="o", label="published")
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


@pytest.mark.parametrize("registry", REGISTRIES, ids=lambda registry: next(iter(registry)))
def test_the_estimators_of_a_method_look_different_to_everybody(registry):
    """A CIELAB distance of 10 is plain to see; the markers differ too, for a print in black.

    Baselines of one idea for several numbers of images may share a colour where there are more than colours.
    """
    for first, second in itertools.combinations(registry.named("arm", "baseline"), 2):
        looks = registry[first].looks, registry[second].looks
        assert looks[0]["marker"] != looks[1]["marker"], (first, second)
        kinds = {registry[first].kind, registry[second].kind}
        if "trivial" in kinds or (looks[0]["color"] == looks[1]["color"] and kinds == {"classical"}):
            continue
        for matrix in DEFICIENCIES.values():
            distance = np.linalg.norm(perceived(looks[0]["color"], matrix) - perceived(looks[1]["color"], matrix))
            assert distance > 10, (first, second, distance)


def perceived(colour, matrix):
    """The CIELAB coordinates of a colour for an eye with this deficiency."""
    colour = np.array(to_rgb(colour))
    linear = np.where(colour <= 0.04045, colour / 12.92, ((colour + 0.055) / 1.055) ** 2.4)
    linear = np.clip(matrix @ linear, 0, 1)
    return rgb2lab(np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055))
