"""A user's tiles through the whole DAG, and the sentences before any job about tiles that cannot be corrected."""

import json
import subprocess
import sys

import numpy as np
import pytest
import tifffile
import yaml

from tests.background import user_tiles
from tests.workflow.running import ENVIRONMENT, assert_refused, copy_project, planned, snakemake

WORDS = ("--configfile", "my.yaml", "--config", "scale=smoke", "--")
FOLDER = "results/smoke/background/apply/mine"


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    folder = copy_project(tmp_path_factory.mktemp("apply"))
    user_tiles.write(folder / "tiles")
    return folder


def configure(project, **changes):
    entries = {"mine": user_tiles.settings(**changes)}
    (project / "my.yaml").write_text(yaml.safe_dump({"apply": {"background": entries}}))


def test_tiles_from_their_folder_to_a_mosaic(project):
    configure(project, open_beam_tile="tile_1.tif", open_beam_px=[0, 0, 16, 16])
    done = snakemake(project, *WORDS, "background_apply")
    assert done.returncode == 0, done.stdout + done.stderr
    folder = project / FOLDER
    for name in ("preview.png", "mosaic.png", "provenance.json", "mosaic.provenance.json"):
        assert (folder / name).stat().st_size > 200, name
    for name in ("corrected", "background", "uncertainty"):
        stack = tifffile.imread(folder / f"{name}.tif")
        assert stack.dtype == np.float32 and stack.shape == user_tiles.tiles().shape and np.isfinite(stack).all()
    with tifffile.TiffFile(folder / "corrected.tif") as file:
        assert file.imagej_metadata["Info"] == "optical_density"
        assert file.imagej_metadata["Labels"][0] == "tile_1.tif"
    mosaic = tifffile.imread(folder / "mosaic.tif")
    assert mosaic.shape == user_tiles.specimen().shape and np.isfinite(mosaic).all()
    quality = json.loads((folder / "quality.json").read_text())
    assert quality["quantity"] == "optical_density" and quality["finetune"] == "tiles"
    measured = quality["quality"]["estimators"]
    assert {"zeros", "gaussian", "median_2", "median_4", "median_leave_pair_out", "corrected"} <= measured.keys()
    assert measured["corrected"]["overlap_residual"] < measured["zeros"]["overlap_residual"]
    # Half of the tiles train, and the others validate
    assert len(quality["shown"]) == 4 and not quality["quality"]["judged_tiles_were_shown"]


def test_the_run_is_complete_and_its_provenance_agrees(project):
    configure(project, open_beam_tile="tile_1.tif", open_beam_px=[0, 0, 16, 16])
    assert planned(project, *WORDS, "background_apply") == {}
    verify = [sys.executable, "-m", "workflow_scripts.workflow.verify", "results/smoke"]
    checked = subprocess.run(verify, cwd=project, env=ENVIRONMENT, capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout
    assert "tiles/tile_1.tif" in json.loads((project / FOLDER / "provenance.json").read_text())["inputs"]


def test_a_changed_tile_remakes_what_came_from_it_and_no_pretraining(project):
    configure(project, open_beam_tile="tile_1.tif", open_beam_px=[0, 0, 16, 16])
    path = project / "tiles" / "tile_3.tif"
    before = path.read_bytes()
    try:
        tifffile.imwrite(path, user_tiles.tiles(seed=1)[2])
        jobs = planned(project, *WORDS, "background_apply")
    finally:
        path.write_bytes(before)
    assert {"background_apply_check", "background_apply_tiles"} <= jobs.keys()
    assert "background_pretrain" not in jobs


def test_without_positions_there_is_no_mosaic(project):
    configure(project, layout=None)
    assert "background_apply_mosaic" not in planned(project, *WORDS, "background_apply")


MISTAKES = {
    "an absent folder": ({"tiles": "absent"}, "apply.background.mine.tiles: there is no folder or file absent"),
    "an empty folder": ({"tiles": "docs"}, "holds no .tif, .tiff, .xrm or .txrm"),
    "an absent layout": ({"layout": "absent.txt"}, "apply.background.mine.layout: there is no file absent.txt"),
    "an unknown key": ({"tile": "tiles"}, "apply.background.mine.tile: there is no such key"),
    "half an open beam": ({"open_beam_tile": "tile_1.tif"}, "must be set together"),
}


@pytest.mark.parametrize("kind", MISTAKES)
def test_a_mistake_stops_before_any_job(project, kind):
    changes, sentence = MISTAKES[kind]
    configure(project, **changes)
    assert_refused(project, sentence, *WORDS, "background_apply")
