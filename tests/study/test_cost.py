"""What a study cost, from a folder of benchmarks and provenance."""

import json

import pytest

from workflow_scripts.study.cost import ASSUMPTION, WATTS_PER_CORE, WATTS_PER_GPU, cost_sections, read_cost, totals
from workflow_scripts.workflow.errors import InputError

HEAD = "s\th:m:s\tmax_rss\tmax_vms\tmax_uss\tmax_pss\tio_in\tio_out\tmean_load\tcpu_time\n"


@pytest.fixture
def folder(tmp_path):
    benchmarks = tmp_path / "benchmarks" / "matching"
    benchmarks.mkdir(parents=True)
    for name, seconds, memory, cpu in (
        ("synthesize_train_0", 60, 300, 50),
        ("pretrain_corrected_seed0", 3600, 900, 1800),
        ("pretrain_published_seed0", 1800, 1200, 1800),
        ("apply_mine_prepare", 9999, 9999, 9999),
        ("plot", 2, "-", "NA"),
    ):
        (benchmarks / f"{name}.tsv").write_text(f"{HEAD}{seconds}\t0:00:01\t{memory}\t1\t1\t1\t0\t0\t50\t{cpu}\n")
    for name, gpus in (("pretrain/corrected/seed0", 2), ("apply/mine", 1)):
        path = tmp_path / "matching" / name / "provenance.json"
        path.parent.mkdir(parents=True)
        record = {"module": "workflow_scripts.matching.pretrain", "device": "cuda:0", "wall_time_s": 3600.0}
        path.write_text(json.dumps(record | {"settings": {"gpus": gpus}}))
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
    # One job of an hour held two GPUs; the user's own data do not count.
    assert training["gpu_h"] == 2.0
    assert training["energy_wh"] == pytest.approx(WATTS_PER_CORE + 2 * WATTS_PER_GPU)
    assert f"{WATTS_PER_CORE:g} W" in ASSUMPTION and f"{WATTS_PER_GPU:g} W" in ASSUMPTION
    whole = totals(table.reset_index()).set_index("method")
    assert whole.loc["all methods", "jobs"] == 4
    assert whole.loc["matching", "peak_memory_mb"] == 1200


def test_what_was_not_recorded_is_said(folder):
    first, stages = cost_sections(read_cost(folder, ["matching"]))
    assert len(first.rows[0]) == len(first.columns) and len(stages.rows[0]) == len(stages.columns)
    plot = next(row for row in stages.rows if row[1] == "plot")
    assert plot[4:6] == ["not recorded", "not recorded"]
    assert first.rows[-1][0] == "all methods"


def test_a_folder_without_benchmarks_and_a_broken_one_are_sentences(folder):
    with pytest.raises(InputError, match="holds no benchmark"):
        read_cost(folder, ["alignment"])
    (folder / "benchmarks/matching/plot.tsv").write_text("nonsense\n")
    with pytest.raises(InputError, match=r"plot\.tsv is no benchmark"):
        read_cost(folder, ["matching"])
