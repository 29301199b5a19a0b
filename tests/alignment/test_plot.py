"""The stages predict, evaluate and plot one after the other on a small study, and what the figure holds."""

import pandas as pd
import pytest

from tests.alignment import toy_baseline
from tests.alignment.study import EVALUATE, JOINT, PAIRWISE, REGISTRY, made, predicted
from workflow_scripts.alignment import evaluate, plot
from workflow_scripts.alignment.estimators import cartesian_pairwise, em_joint, polar_joint, polar_pairwise
from workflow_scripts.alignment.settings import Evaluate, Plot
from workflow_scripts.alignment.simulation.labels import FINETUNED, PRETRAINED
from workflow_scripts.study.predictions import read_predictions, write_predictions
from workflow_scripts.study.tables import headline_numbers, read_metrics
from workflow_scripts.workflow.command import Job
from workflow_scripts.workflow.errors import InputError
from workflow_scripts.workflow.files import read_arrays
from workflow_scripts.workflow.settings import check


def evaluated(folder, files, predictions):
    """The outputs of the stage evaluate by name."""
    outputs = {name.split(".")[0]: folder / name for name in ("metrics.csv", "by_source.csv", "examples.npz")}
    evaluate.evaluate(Job(check(Evaluate, EVALUATE), files | {"predictions": predictions}, outputs, folder))
    return outputs


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """The folder of all outputs, with a stand-in for a trained arm and a baseline that a user adds."""
    folder = tmp_path_factory.mktemp("stages")
    files = {name: [path] for name, path in made(folder, particles=["groel_side", "groel_top", "asymmetric"]).items()}
    test_stack = files["star"][0], files["stack"][0]
    predictions = [
        predicted(folder, polar_pairwise, *test_stack),
        predicted(folder, polar_joint, *test_stack, rounds=8),
        predicted(folder, toy_baseline, *test_stack),
        predicted(folder, cartesian_pairwise, *test_stack, **PAIRWISE),
        predicted(folder, em_joint, *test_stack, **(JOINT | {"starts": 1, "search_rings": [10]})),
        folder / "corrected.npz",
    ]
    arrays = {
        (stage, part.condition): part.read()
        for stage, path in zip((PRETRAINED, FINETUNED), predictions, strict=False)
        for part in read_predictions(path).parts
    }
    write_predictions(predictions[-1], "corrected", 0, arrays)
    outputs = evaluated(folder, files, predictions)
    registry = folder / "estimators.yaml"
    entry = "toy_baseline: {kind: classical, label: toy}\n"
    registry.write_text(REGISTRY.read_text(encoding="utf-8") + entry, encoding="utf-8")
    shown = {suffix: folder / f"alignment.{suffix}" for suffix in ("svg", "pdf", "png", "csv")}
    inputs = {name: [path] for name, path in outputs.items()} | {"estimators": [registry]}
    plot.plot(Job(check(Plot, {}), inputs, shown, folder))
    return folder


def test_the_table_is_valid_and_every_estimator_has_its_headline(done):
    headline = headline_numbers(read_metrics(done / "metrics.csv"))
    angles = headline[(headline["metric"] == "rotation_error_deg_mod180") & (headline["statistic"] == "mean")]
    by_name = angles.set_index("estimator")["value"]
    full = {"cartesian_pairwise", "em_joint", "clean_reference"}
    assert set(by_name.index) == {"polar_pairwise", "polar_joint", "toy_baseline", "corrected"} | full
    # The stand-in predicts as the baselines do.
    assert by_name["corrected"] == by_name["polar_joint"] < by_name["polar_pairwise"] < 10 < by_name["toy_baseline"]
    assert by_name["clean_reference"] < 1.1 * by_name["em_joint"]
    assert set(headline["estimator"]) == {*by_name.index, "true_poses"}


def test_every_panel_has_its_points(done):
    table = pd.read_csv(done / "alignment.csv")
    assert set(table["panel"]) == set("bcefg")
    # The last of the registry comes last
    assert set(table.groupby("panel")["estimator"].last()) == {"toy_baseline"}
    assert set(table[table["panel"] == "b"]["snr"]) == {0.5, 1.0}
    assert set(table[table["panel"] == "e"]["images"]) == {8, 16, 24}
    control = table[table["panel"] == "g"]
    assert set(control["particle"].dropna()) == {"groel_side", "groel_top", "asymmetric"}
    for suffix in ("svg", "pdf", "png"):
        assert (done / f"alignment.{suffix}").stat().st_size > 5000


def test_histograms_count_every_image_of_the_headline_once(done):
    examples = read_arrays(done / "examples.npz", plot.EXAMPLES)
    counts = {
        tuple(curve): count.sum() for curve, count in zip(examples["curves"].tolist(), examples["counts"], strict=True)
    }
    # Two particles of C1 and C2, 24 images each.
    assert counts["polar_joint", "joint"] == counts["corrected", "joint"] == 48
    assert counts["polar_pairwise", "pairwise"] == counts["corrected", "pairwise"] == 46


def test_relative_poses_of_another_number_of_pairs_are_refused(done, tmp_path):
    file = read_predictions(done / "cartesian_pairwise.npz")
    arrays = {(part.stage, part.condition): part.read() for part in file.parts}
    first = next(iter(arrays.values()))
    first["pair_shift_px"] = first["pair_shift_px"][:-1]
    write_predictions(tmp_path / "short.npz", "cartesian_pairwise", 0, arrays)
    names = {"stack": "shard0.mrcs", "star": "shard0.star", "centres": "shard0_centres.mrcs"}
    files = {name: [done / file] for name, file in names.items()}
    with pytest.raises(InputError, match=r"pair_shift_px is \(22, 2\), but the test file needs \(23, 2\)"):
        evaluated(tmp_path, files, [tmp_path / "short.npz"])


def test_predictions_for_other_stacks_are_refused(done, tmp_path):
    files = {name: [path] for name, path in made(tmp_path, snr=[1.0]).items()}
    with pytest.raises(InputError, match="holds other stacks"):
        evaluated(tmp_path, files, [done / "polar_joint.npz"])
