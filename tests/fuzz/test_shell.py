"""No text of a configuration and no name of a file is ever run: printed and run by hand, or run by Snakemake."""

import shlex
import subprocess

import numpy as np
import pytest
import tifffile
import yaml
from pydantic import TypeAdapter, ValidationError

from tests.alignment.user_particles import write_list, write_stack
from tests.background import user_tiles
from tests.workflow.running import ENVIRONMENT, copy_project, snakemake
from workflow_scripts.workflow.configuration import Name

HOSTILE = "a $(touch pwned) `touch pwned`; touch pwned & \" ' \\ $HOME * ~ #!"
WORDS = ("--configfile", "my.yaml", "--config", "scale=smoke", "--")
REPORTS = [f"results/smoke/{method}/apply/mine/check/report.json" for method in ("alignment", "background")]


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    folder = copy_project(tmp_path_factory.mktemp("shell"))
    (folder / HOSTILE).mkdir()
    images = np.random.default_rng(0).normal(size=(20, 64, 64))
    write_stack(folder / HOSTILE / "$(touch pwned); touch pwned.mrcs", images)
    write_list(folder / HOSTILE / f"{HOSTILE}.star", 20, stack_name="$(touch pwned); touch pwned.mrcs")
    tiles = folder / HOSTILE / "tiles"
    tiles.mkdir()
    for k, image in enumerate(user_tiles.tiles()[:4]):
        tifffile.imwrite(tiles / f"{HOSTILE} {k}.tif", image)
    overlay = {
        "apply": {
            "alignment": {"mine": {"particles": f"{HOSTILE}/{HOSTILE}.star"}},
            "background": {
                "mine": {
                    "tiles": f"{HOSTILE}/tiles",
                    "open_beam_tile": f"{HOSTILE} 0.tif",
                    "open_beam_px": [0, 0, 16, 16],
                }
            },
        }
    }
    (folder / "my.yaml").write_text(yaml.safe_dump(overlay))
    return folder


def is_untouched(project):
    return not list(project.rglob("pwned"))


def test_jobs_with_hostile_names_run_and_nothing_else_does(project):
    done = snakemake(project, "--printshellcmds", *WORDS, *REPORTS)
    assert done.returncode == 0, done.stdout + done.stderr
    assert all((project / report).is_file() for report in REPORTS)
    assert is_untouched(project)
    # What -p prints is a line for a shell: its words are those of the job, run by hand or not
    printed = [line for line in (done.stdout + done.stderr).splitlines() if "python -m workflow_scripts." in line]
    assert len(printed) == len(REPORTS)
    for line in printed:
        by_hand = line[line.index("python -m") :].replace("python -m", "echo", 1)
        assert any(HOSTILE in word for word in shlex.split(by_hand))
        subprocess.run(["bash", "-c", by_hand], cwd=project, env=ENVIRONMENT, check=True, capture_output=True)
    assert is_untouched(project)


@pytest.mark.torture
@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("apply.alignment.; touch pwned", {"particles": "a.mrcs"}),
        ("apply.alignment.$(touch pwned)", {"particles": "a.mrcs"}),
        ("apply.alignment.../../../pwned", {"particles": "a.mrcs"}),
        ("apply.alignment.-h", {"particles": "a.mrcs"}),
        ("apply.alignment.mine", {"particles": "-a.mrcs"}),
        ("apply.alignment.mine", {"particles": "a\n; touch pwned.mrcs"}),
        ("apply.alignment.mine", {"particles": f"{HOSTILE}.mrcs"}),
        ("scale", "; touch pwned"),
        ("methods", ["$(touch pwned)"]),
        ("variants", ["`touch pwned`"]),
        ("compute.gpus", "0; touch pwned"),
        ("alignment.synthesize.particles", ["$(touch pwned).mrc"]),
        ("alignment.pretrain.epochs", "$(touch pwned)"),
    ],
)
def test_hostile_settings_end_in_a_sentence(project, key, value):
    overlay = value
    for part in reversed(key.split(".", 2) if key.startswith("apply") else key.split(".")):
        overlay = {part: overlay}
    (project / "bad.yaml").write_text(yaml.safe_dump(overlay))
    scale = [] if key == "scale" else ["--config", "scale=smoke"]
    done = snakemake(project, "--dry-run", "-p", "--configfile", "bad.yaml", *scale)
    assert done.returncode != 0
    assert "Traceback" not in done.stdout + done.stderr
    assert is_untouched(project)


@pytest.mark.parametrize("name", ["", "a b", "a/b", "..", "-h", "a\n", "$(touch pwned)", "ä", "x" * 300])
def test_an_entry_cannot_be_called_what_a_path_or_a_shell_would_read(name):
    with pytest.raises(ValidationError):
        TypeAdapter(Name).validate_python(name)
