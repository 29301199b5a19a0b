"""The overview is drawn only from tables and pictures, with equal bytes; overview.yaml of every method is checked."""

import numpy as np
import pandas as pd
import pytest
import yaml

from workflow_scripts.study.bootstrap import bootstrap
from workflow_scripts.study.by_source import read_by_source, write_by_source
from workflow_scripts.study.estimators import FILE, read_registry
from workflow_scripts.study.figures import save_figure, style
from workflow_scripts.study.overview import IMAGES, Example, draw, source_table
from workflow_scripts.study.summaries import Picture, pick, read_summary
from workflow_scripts.study.tables import metric_row, read_metrics, with_headline, write_metrics
from workflow_scripts.workflow.closure import ROOT
from workflow_scripts.workflow.errors import InputError

OVERVIEWS = sorted((ROOT / "workflow_scripts").glob("*/overview.yaml"))


@pytest.mark.parametrize("path", OVERVIEWS, ids=lambda path: path.parent.name)
def test_overview_yaml_agrees_with_claims_and_estimators(path):
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
    image, names = pick(arrays, Picture(array="images", at=(("names", "corrected"), 1), root=True, label="x"), tmp_path)
    assert image.shape == (4, 4) and (image == 3).all() and names == ["corrected"]
    assert pick(arrays, Picture(array="images", at=(("names", "unet"), 0), label="x"), tmp_path)[1] == ["published"]
    assert pick(arrays, Picture(array="{scans}_rad", label="x"), tmp_path)[0].shape == (3, 3)
    for picture in (Picture(array="absent", label="x"), Picture(array="images", at=(7,), label="x")):
        with pytest.raises(InputError, match="holds no"):
            pick(arrays, picture, tmp_path)


def made(folder, n=6):
    """Every method with random pictures and a few numbers; the second-best estimator is not significantly worse."""
    rng = np.random.default_rng(0)
    examples, metrics, sources, cost = {}, {}, {}, []
    for path in OVERVIEWS:
        method, summary = path.parent.name, read_summary(path)
        registry = read_registry(path.with_name(FILE))
        pixels = {"comes_out": 2.0} if summary.pixel else {}
        images = dict(zip(IMAGES, rng.random((3, 12, 12)), strict=True))
        examples[method] = Example(summary, registry, images, "corrected", "here", pixels)
        second = len(registry) - 2 if summary.score.better == "higher" else 1
        rows = []
        for k, name in enumerate(registry):
            values = pd.Series(0.1 + 0.1 * k + 0.5 * (k == second) * (-1.0) ** np.arange(n))
            where = {"condition": "dose_e=1", "statistic": summary.score.statistic}
            rows.append(metric_row(name, summary.score.metric, "1", bootstrap(values, seed=0), **where))
        (folder / method).mkdir(parents=True)
        rows = with_headline(rows, "dose_e=1")
        write_metrics(rows, folder / method / "metrics.csv")
        write_by_source(rows, folder / method / "by_source.csv")
        metrics[method] = read_metrics(folder / method / "metrics.csv")
        sources[method] = read_by_source(folder / method / "by_source.csv")
        for stage in ("synthesize", "pretrain"):
            cost.append((method, stage, 2, 60.0, 50.0, 300.0, 0.0, 0.14))
    names = ["method", "stage", "jobs", "wall_s", "cpu_s", "peak_memory_mb", "gpu_h", "energy_wh"]
    return examples, metrics, sources, pd.DataFrame(cost, columns=names)


@pytest.fixture
def study(tmp_path):
    return made(tmp_path)


def test_every_method_has_a_lettered_row_with_all_its_estimators_n_and_cost(study):
    examples, *tables = study
    table = source_table(examples, *tables)
    assert table["panel"].unique().tolist() == list("abcde"[: len(examples)])
    for method, example in examples.items():
        points = table[table["method"] == method]
        scores = points[points["what"] == example.summary.score.metric]
        assert scores["name"].tolist() == list(example.registry) and (scores["n"] == 6).all()
        assert points[points["what"] == "CPU time"]["value"].sum() == pytest.approx(100 / 60)
    with style():
        figure = draw(table, examples)
        words = [text.get_text() for text in figure.texts]
        labels = [axis.get_xlabel() for axis in figure.axes]
    for letter, (method, example) in zip("abcde", examples.items(), strict=False):
        assert letter in words and f"{method}: {example.summary.title}" in words
        assert any(f"n = 6 {example.summary.score.sources}" in text for text in words)
        assert any(label.startswith(example.summary.score.label) for label in labels)


@pytest.mark.parametrize(("n", "best"), [(3, 0), (6, 2), (12, 2)])
def test_the_best_estimator_is_bold_and_all_that_are_not_significantly_worse(n, best, tmp_path):
    examples, *tables = made(tmp_path / "made", n)
    with style():
        figure = draw(source_table(examples, *tables), examples)
    bold = [
        label.get_text() for axis in figure.axes for label in axis.get_yticklabels() if label.get_fontweight() == "bold"
    ]
    orders = [(list(example.registry), example.summary.score.better == "higher") for example in examples.values()]
    expected = [name for order, higher in orders for name in (order[-best:] if higher else order[:best])]
    assert bold == (expected if best else [])


def test_what_an_estimator_needs_stands_beside_it(study):
    examples, *tables = study
    with style():
        figure = draw(source_table(examples, *tables), examples)
    texts = [text.get_text() for axis in figure.axes for text in axis.texts]
    notes = [entry.note for example in examples.values() for entry in example.registry.values() if entry.note]
    assert notes and set(notes) <= set(texts)


def test_it_is_drawn_with_equal_bytes(study, tmp_path):
    examples, *tables = study
    table = source_table(examples, *tables)
    first = dict(list(examples.items())[:1])
    for name in ("one", "two"):
        with style():
            save_figure(draw(table, first), table, tmp_path / name / "overview")
    for kind in ("svg", "pdf", "csv"):
        assert (tmp_path / f"one/overview.{kind}").read_bytes() == (tmp_path / f"two/overview.{kind}").read_bytes()
