"""The open benchmark: test sets without the truth, and predictions from outside the study."""

import io
import re
import subprocess
import sys
from zipfile import ZipFile

import numpy as np
import pandas as pd
import pytest

from tests.workflow.conftest import STUDY
from tests.workflow.running import snakemake
from workflow_scripts.study.tables import read_metrics

TRUTHS = {
    "background": {"log_flat", "log_transmission"},
    "diffractive_imaging": {"unit_phase"},
    "potential": {"potential", "potential_limited"},
    "matching": {"rotation", "second_rotation", "kind"},
}


@pytest.fixture(scope="module")
def archives(finished):
    done = snakemake(finished, *STUDY, "benchmark_sets")
    assert done.returncode == 0, done.stdout + done.stderr
    return {path.stem: ZipFile(path) for path in (finished / "results/smoke/benchmark").glob("*.zip")}


def score(folder, *words):
    command = [sys.executable, "-m", "workflow_scripts.study.score", *map(str, words), "--scale", "smoke"]
    return subprocess.run(
        [*command, "--configfile", "my.yaml"], cwd=folder, capture_output=True, text=True, check=False
    )


def test_the_archives_hold_no_truth(archives, finished):
    assert archives.keys() >= TRUTHS.keys() | {"alignment"}
    for method, truth in TRUTHS.items():
        given = np.load(io.BytesIO(archives[method].read("shard0.npz")))
        whole = np.load(finished / f"results/smoke/{method}/synthesize/test/shard0.npz")
        assert truth <= set(whole.files)
        assert not truth & set(given.files)
        assert not [name for name in given.files if name.endswith("phase_rad")]
        for name in given.files:
            np.testing.assert_array_equal(given[name], whole[name])
    particles = archives["alignment"].read("shard0.star").decode()
    assert "rlnImageName" in particles
    assert not re.search("rlnAngle|rlnOrigin|beamtimeParticle", particles)


def test_an_archive_has_its_checksums_and_says_what_to_predict(archives):
    for archive in archives.values():
        for line in archive.read("SHA256SUMS").decode().splitlines():
            assert archive.read(line.split()[1])
        assert "fitted" in archive.read("README.md").decode()


def copied(source, target, **changes):
    """A file of predictions with some of its arrays changed."""
    np.savez(target, **(dict(np.load(source)) | changes))
    return target


def test_predictions_of_others_get_the_numbers_of_the_study(finished, tmp_path):
    made = finished / "results/smoke/background/predict/median_2/seed0/predictions.npz"
    before = (finished / "results/smoke/background/evaluate/metrics.csv").read_bytes()
    done = score(finished, "background", copied(made, tmp_path / "mine.npz", estimator="mine"))
    assert done.returncode == 0, done.stderr
    assert re.search(r"^\| mine ", done.stdout, re.MULTILINE)
    assert "od_rmse_up_to_constant" in done.stdout
    table = read_metrics(finished / "results/smoke/scores/background/mine/metrics.csv")
    mine, median = (
        table[table["estimator"] == name].drop(columns="estimator").reset_index(drop=True)
        for name in ("mine", "median_2")
    )
    pd.testing.assert_frame_equal(mine, median)
    assert (finished / "results/smoke/background/evaluate/metrics.csv").read_bytes() == before


def test_predictions_from_more_tiles_are_shown_but_not_ranked(finished, tmp_path):
    made = dict(np.load(finished / "results/smoke/background/predict/median_2/seed0/predictions.npz"))
    changed = {name.replace("tiles=2", "tiles=16"): array for name, array in made.items()}
    changed |= {"estimator": "sixteen", "parts": [text.replace("tiles=2", "tiles=16") for text in made["parts"]]}
    np.savez(tmp_path / "sixteen.npz", **changed)
    done = score(finished, "background", tmp_path / "sixteen.npz")
    assert done.returncode == 0, done.stderr
    assert re.search(r"^\| sixteen .* given more ", done.stdout, re.MULTILINE)


def test_predictions_that_cannot_be_scored_are_one_sentence(finished, tmp_path):
    made = finished / "results/smoke/background/predict/median_2/seed0/predictions.npz"
    name = dict(np.load(made))["parts"][0]
    flat = {"estimator": "mine", f"{name}/log_flat": np.zeros((1, 2, 3, 3), np.float32)}
    (tmp_path / "text.npz").write_text("no arrays")
    for method, path, sentence in (
        ("background", copied(made, tmp_path / "twin.npz"), "the study has an estimator 'median_2' already"),
        ("background", copied(made, tmp_path / "path.npz", estimator="../mine"), "letters, digits and underscores"),
        (
            "background",
            copied(made, tmp_path / "seed.npz", seed="abc"),
            "seed is <U3 of the shape (), expected a whole number",
        ),
        (
            "background",
            copied(made, tmp_path / "stage.npz", parts=["mine/tiles=2"]),
            "have the stages mine, expected fitted",
        ),
        (
            "background",
            copied(made, tmp_path / "texts.npz", extra=np.array(["a"])),
            "extra is <U1, expected real numbers",
        ),
        ("background", copied(made, tmp_path / "flat.npz", **flat), "cannot be evaluated"),
        ("background", tmp_path / "text.npz", "is not a whole .npz file"),
        ("background", tmp_path / "absent.npz", "absent.npz"),
        ("foreground", made, "is missing; finish the run"),
    ):
        done = score(finished, method, path)
        assert done.returncode == 1
        assert sentence in done.stderr.splitlines()[-1]
        assert "Traceback" not in done.stderr
