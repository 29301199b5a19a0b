"""Error against CPU time: every estimator with a prediction, once, with equal bytes."""

import json

import numpy as np
import pytest

from workflow_scripts.study.estimators import FILE, read_registry
from workflow_scripts.study.figures import save_figure, style
from workflow_scripts.study.quality_cost import draw, prediction_seconds, source_table
from workflow_scripts.study.summaries import read_summary
from workflow_scripts.study.tables import metric_row, read_metrics, with_headline, write_metrics
from workflow_scripts.workflow.closure import ROOT

METHODS = sorted(path.parent.name for path in (ROOT / "workflow_scripts").glob("*/overview.yaml"))


@pytest.fixture
def study(tmp_path):
    """Scores, registries, metrics and seconds of every method, from a folder of results."""
    scores, registries, metrics, seconds = {}, {}, {}, {}
    for method in METHODS:
        code, folder = ROOT / "workflow_scripts" / method, tmp_path / method
        score, registry = read_summary(code / "overview.yaml").score, read_registry(code / FILE)
        scores[method], registries[method] = score, registry
        rows = []
        for place, name in enumerate(registry, start=1):
            rows.append(metric_row(name, score.metric, "1", 0.1 * place, statistic=score.statistic, n=4))
            for seed in (0, 1) if registry[name].is_trained else (0,):
                path = folder / "predict" / name / f"seed{seed}" / "provenance.json"
                path.parent.mkdir(parents=True)
                path.write_text(json.dumps({"cpu_time_s": 10.0 * place + seed}))
        write_metrics(with_headline(rows, ""), folder / "metrics.csv")
        metrics[method], seconds[method] = read_metrics(folder / "metrics.csv"), prediction_seconds(folder)
    return scores, registries, metrics, seconds


def test_seeds_are_averaged_and_what_was_not_recorded_is_missing(study, tmp_path):
    _, registries, _, seconds = study
    for method, registry in registries.items():
        expected = [10 * place + 0.5 * registry[name].is_trained for place, name in enumerate(registry, start=1)]
        assert [seconds[method][name] for name in registry] == expected
    path = tmp_path / "old/predict/ridge/seed0/provenance.json"
    path.parent.mkdir(parents=True)
    path.write_text("{}")
    assert np.isnan(prediction_seconds(tmp_path / "old")["ridge"])


def test_every_estimator_with_a_prediction_is_a_point(study):
    scores, registries, metrics, seconds = study
    left_out = next(iter(registries[METHODS[0]]))
    del seconds[METHODS[0]][left_out]
    table = source_table(scores, registries, metrics, seconds)
    for method, registry in registries.items():
        names = [name for name in registry if (method, name) != (METHODS[0], left_out)]
        assert table[table["method"] == method]["estimator"].tolist() == names
    with style():
        figure = draw(table, scores, registries)
    titles = [axis.get_title(loc="left") for axis in figure.axes]
    assert titles[: len(METHODS)] == METHODS
    for method, axis in zip(METHODS, figure.axes, strict=False):
        shown = [text.get_text() for text in axis.get_legend().get_texts()]
        assert shown == table[table["method"] == method]["estimator"].tolist()


def test_it_is_drawn_with_equal_bytes(study, tmp_path):
    scores, registries, metrics, seconds = study
    table = source_table(scores, registries, metrics, seconds)
    for name in ("one", "two"):
        with style():
            save_figure(draw(table, scores, registries), table, tmp_path / name / "quality_cost")
    for kind in ("svg", "pdf", "csv"):
        first, second = ((tmp_path / name / f"quality_cost.{kind}").read_bytes() for name in ("one", "two"))
        assert first == second
