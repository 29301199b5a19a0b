"""The overview draws from tables and pictures alone, the same bytes again; what a method says of itself is checked."""

import numpy as np
import pandas as pd
import pytest
import yaml

from workflow_scripts.study import drawing_overview
from workflow_scripts.study.drawing_overview import Shown
from workflow_scripts.study.estimators import FILE, read_registry
from workflow_scripts.study.figures import save_figure, style
from workflow_scripts.study.summaries import Picture, pick, read_summary
from workflow_scripts.study.tables import metric_row, read_metrics, with_headline, write_metrics
from workflow_scripts.workflow.closure import ROOT
from workflow_scripts.workflow.errors import InputError

OVERVIEWS = sorted((ROOT / "workflow_scripts").glob("*/overview.yaml"))


@pytest.mark.parametrize("path", OVERVIEWS, ids=lambda path: path.parent.name)
def test_what_a_method_says_of_itself_agrees_with_its_claims_and_estimators(path):
    summary = read_summary(path)
    assert {"published", "corrected"} == set(read_registry(path.with_name(FILE)).named("arm"))
    claims = yaml.safe_load((path.parent / "claims.yaml").read_text(encoding="utf-8"))
    assert summary.score.metric in {claim["metric"] for claim in claims}


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"colour": 1}, "colour: Extra"),
        ({"score": {"metric": "r2"}}, "score.label: Field required"),
        ({"goes_in": {"array": "raw", "label": "x", "colours": "jet"}}, "goes_in.colours"),
    ],
)
def test_a_mistake_in_it_is_one_sentence(changed, message, tmp_path):
    (tmp_path / "overview.yaml").write_text(yaml.safe_dump(yaml.safe_load(OVERVIEWS[0].read_text()) | changed))
    with pytest.raises(InputError, match=message) as caught:
        read_summary(tmp_path / "overview.yaml")
    assert "\n" not in str(caught.value)


def test_pictures_are_found_by_number_and_by_name(tmp_path):
    arrays = {"names": np.array(["published", "corrected"]), "scans": np.array(["edge"]), "edge_rad": np.ones((3, 3))}
    arrays["images"] = np.stack([np.full((2, 4, 4), 4.0), np.full((2, 4, 4), 9.0)])
    image, found = pick(arrays, Picture(array="images", at=(("names", "corrected"), 1), root=True, label="x"), tmp_path)
    assert image.shape == (4, 4) and (image == 3).all() and found == ["corrected"]
    assert pick(arrays, Picture(array="images", at=(("names", "unet"), 0), label="x"), tmp_path)[1] == ["published"]
    assert pick(arrays, Picture(array="{scans}_rad", label="x"), tmp_path)[0].shape == (3, 3)
    for picture in (Picture(array="absent", label="x"), Picture(array="images", at=(7,), label="x")):
        with pytest.raises(InputError, match="holds no"):
            pick(arrays, picture, tmp_path)


@pytest.fixture
def study(tmp_path):
    """Every method with pictures of its own and a few numbers."""
    rng = np.random.default_rng(0)
    shown, metrics, cost = {}, {}, []
    for path in OVERVIEWS:
        method, summary = path.parent.name, read_summary(path)
        images = rng.random((3, 12, 12))
        registry = read_registry(path.with_name(FILE))
        shown[method] = Shown(
            summary,
            registry,
            *images,
            answered_by="corrected",
            at="here",
            pixel=2.0 if summary.pixel else None,
            input_pixel=None,
        )
        rows = [
            metric_row(
                name,
                summary.score.metric,
                "1",
                0.1 + 0.1 * k,
                condition="dose_e=1",
                statistic=summary.score.statistic,
                n=4,
            )
            for k, name in enumerate(registry)
        ]
        (tmp_path / method).mkdir()
        write_metrics(with_headline(rows, "dose_e=1"), tmp_path / method / "metrics.csv")
        metrics[method] = read_metrics(tmp_path / method / "metrics.csv")
        for stage in ("synthesize", "pretrain"):
            cost.append((method, stage, 2, 60.0, 50.0, 300.0, 0.0, 0.14))
    names = ["method", "stage", "jobs", "wall_s", "cpu_s", "peak_memory_mb", "gpu_h", "energy_wh"]
    return shown, metrics, pd.DataFrame(cost, columns=names)


def test_every_method_has_a_lettered_row_with_all_its_estimators_n_and_cost(study):
    shown, metrics, cost = study
    table = drawing_overview.source_table(shown, metrics, cost)
    assert table["panel"].unique().tolist() == list("abcde"[: len(shown)])
    for method, one in shown.items():
        own = table[table["method"] == method]
        scores = own[own["what"] == one.summary.score.metric]
        assert scores["name"].tolist() == list(one.registry) and (scores["n"] == 4).all()
        assert own[own["what"] == "CPU time"]["value"].sum() == pytest.approx(100 / 60)
    with style():
        figure = drawing_overview.draw(table, shown)
        words = [text.get_text() for text in figure.texts]
        labels = [axis.get_xlabel() for axis in figure.axes]
    for letter, (method, one) in zip("abcde", shown.items(), strict=False):
        assert letter in words and f"{method}: {one.summary.title}" in words
        assert any(f"n = 4 {one.summary.score.sources}" in text for text in words)
        assert any(label.startswith(one.summary.score.label) for label in labels)


@pytest.mark.parametrize(("reach", "best"), [(np.nan, 1), (0.04, 1), (0.06, 2)])
def test_the_best_one_is_bold_and_all_whose_interval_overlaps_its_own(study, reach, best):
    shown, metrics, cost = study
    table = drawing_overview.source_table(shown, metrics, cost)
    table = table.assign(low=table["value"] - reach, high=table["value"] + reach)
    with style():
        figure = drawing_overview.draw(table, shown)
    bold = [
        label.get_text() for axis in figure.axes for label in axis.get_yticklabels() if label.get_fontweight() == "bold"
    ]
    orders = [(list(one.registry), one.summary.score.better == "higher") for one in shown.values()]
    assert bold == [name for order, higher in orders for name in (order[-best:] if higher else order[:best])]


def test_what_an_estimator_needs_stands_beside_it(study):
    shown, metrics, cost = study
    with style():
        figure = drawing_overview.draw(drawing_overview.source_table(shown, metrics, cost), shown)
    said = [text.get_text() for axis in figure.axes for text in axis.texts]
    notes = [entry.note for one in shown.values() for entry in one.registry.values() if entry.note]
    assert notes and set(notes) <= set(said)


def test_it_is_drawn_with_equal_bytes(study, tmp_path):
    shown, metrics, cost = study
    table = drawing_overview.source_table(shown, metrics, cost)
    one = dict(list(shown.items())[:1])
    for name in ("one", "two"):
        with style():
            save_figure(drawing_overview.draw(table, one), table, tmp_path / name / "overview")
    for kind in ("svg", "pdf", "csv"):
        assert (tmp_path / f"one/overview.{kind}").read_bytes() == (tmp_path / f"two/overview.{kind}").read_bytes()
