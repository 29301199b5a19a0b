"""The table of launches and waits of a training step: what is counted, and that the page has every training."""

import pytest
import torch

from benchmarks import gpu_launches
from workflow_scripts.workflow.closure import ROOT
from workflow_scripts.workflow.reference import merged

STAGE = """
import torch

network = torch.nn.Linear(3, 1).to("cuda")
optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
for step in range(4):
    optimizer.zero_grad()
    loss = network(torch.ones(2, 3, device="cuda")).sum()
    loss.backward()
    optimizer.step()
    float(loss.detach())
"""


def test_a_step_goes_from_one_update_to_the_next(tmp_path, monkeypatch):
    (tmp_path / "toy_training.py").write_text(STAGE)
    monkeypatch.syspath_prepend(tmp_path)
    step, error = gpu_launches.counted(["toy_training"], tmp_path)
    assert not error and step.synchronisations == {"_local_scalar_dense": 1}
    assert step.launches["addmm"] == step.launches["_foreach_add_"] == 1


def test_a_training_that_stops_still_has_its_steps(tmp_path, monkeypatch):
    (tmp_path / "toy_training.py").write_text(STAGE + "network(torch.ones(2, 3))\n")
    monkeypatch.syspath_prepend(tmp_path)
    step, error = gpu_launches.counted(["toy_training"], tmp_path)
    assert "pretend GPU" in error and step.launches["addmm"] == 1
    assert torch.ones(1).device.type == "cpu"


@pytest.mark.parametrize("method", gpu_launches.SMALL)
def test_the_networks_are_those_of_the_scale_for_a_gpu(method):
    assert gpu_launches.overlay(method)["pretrain"]["network"] == merged("gpu")[method]["pretrain"]["network"]


def test_the_page_has_every_training():
    text = (ROOT / "docs" / "performance.md").read_text(encoding="utf-8")
    lines = text.split(gpu_launches.BEGIN)[1].split(gpu_launches.END)[0].strip().splitlines()
    assert lines[0] == f"| {' | '.join(gpu_launches.COLUMNS)} |"
    rows = [tuple(cell.strip() for cell in line.strip("|").split("|"))[:3] for line in lines[2:]]
    assert sorted(rows) == sorted(gpu_launches.BEFORE)
