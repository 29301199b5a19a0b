"""What a study cost, from a folder of benchmarks and provenance."""

import json

import pytest

from workflow_scripts.study.cost import ASSUMPTION, WATTS_PER_CORE, WATTS_PER_GPU, cost_sections, read_cost, totals
from workflow_scripts.workflow.errors import InputError


@pytest.fixture
def folder(tmp_path):
    for name, stage, seconds, cost, gpus in (
        ("matching/synthesize/train/shard0", "synthesize", 60, (50, 300), 0),
        ("matching/pretrain/corrected/seed0/", "pretrain", 3600, (1800, 900), 2),
        ("matching/pretrain/published/seed0/", "pretrain", 1800, (1800, 1200), 0),
        ("matching/apply/mine/", "predict", 9999, (9999, 9999), 1),
        ("matching/apply/mine/prepare/", "prepare", 9999, (9999, 9999), 0),
        ("figures/matching", "plot", 2, (), 0),
    ):
        path = tmp_path / f"{name}{'' if name.endswith('/') else '.'}provenance.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        record = {
            "module": f"workflow_scripts.matching.{stage}",
            "device": "cuda:0" if gpus else "cpu",
            "wall_time_s": float(seconds),
            "settings": {"gpus": gpus},
        }
        path.write_text(json.dumps(record | dict(zip(("cpu_time_s", "peak_memory_mb"), cost, strict=False))))
    return tmp_path


def test_sums_peaks_and_energy(folder):
    table = read_cost(folder, ["matching"]).set_index("stage")
    assert list(table.index) == ["synthesize", "pretrain", "plot"]
    training = table.loc["pretrain"]
    assert (training["jobs"], training["wall_s"], training["cpu_s"], training["peak_memory_mb"]) == (
        2,
        5400,
        3600,
        1200,
    )
    # One job of an hour held two GPUs; jobs for the user's files do not count.
    assert training["gpu_h"] == 2.0
    assert training["energy_wh"] == pytest.approx(WATTS_PER_CORE + 2 * WATTS_PER_GPU)
    assert f"{WATTS_PER_CORE:g} W" in ASSUMPTION and f"{WATTS_PER_GPU:g} W" in ASSUMPTION
    whole = totals(table.reset_index()).set_index("method")
    assert whole.loc["all methods", "jobs"] == 4
    assert whole.loc["matching", "peak_memory_mb"] == 1200


def test_numbers_without_a_record_are_marked(folder):
    first, stages = cost_sections(read_cost(folder, ["matching"]))
    plot = stages.table.set_index("stage").loc["plot"]
    assert plot["CPU time (min)"] == plot["peak memory of a job (MB)"] == "not recorded"
    assert first.total and first.table["method"].iloc[-1] == "all methods"


def test_a_folder_without_provenance_is_a_sentence(folder):
    with pytest.raises(InputError, match="holds no provenance of a job"):
        read_cost(folder, ["alignment"])
