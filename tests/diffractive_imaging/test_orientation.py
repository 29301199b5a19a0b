"""The search over rotation and transposition: it finds that of a simulated scan and of a real one."""

import numpy as np
import pytest
import torch

from tests.diffractive_imaging import user_scan
from workflow_scripts.diffractive_imaging.apply.data import checked_scan
from workflow_scripts.diffractive_imaging.apply.orientation import curl_by_angle, search
from workflow_scripts.diffractive_imaging.apply.settings import Apply
from workflow_scripts.diffractive_imaging.simulation.forward import rotated
from workflow_scripts.workflow.settings import check


@pytest.mark.parametrize("transposed", [False, True])
def test_a_gradient_has_the_least_curl_along_its_own_axes(transposed):
    y, x = np.mgrid[:24, :24] / 24
    potential = np.sin(7 * x + 3 * y**2) + np.cos(9 * y * x)
    gradient = torch.from_numpy(np.stack(np.gradient(potential), axis=-1).reshape(-1, 2))
    recorded = rotated(gradient, 50.0).numpy().reshape(24, 24, 2)
    if transposed:
        recorded = recorded[..., ::-1]
    curls = {flipped: curl_by_angle(recorded, flipped) for flipped in (False, True)}
    assert 2 * curls[transposed].argmin() == 50
    assert curls[transposed].min() < 0.05 * min(curls[transposed].mean(), curls[not transposed].min())


def test_the_search_finds_the_orientation_of_a_simulated_scan():
    _, _, counts = user_scan.scene()
    raster = user_scan.raster_px(user_scan.POINTS, 2.0)
    orientation = search(counts.transpose(1, 2), raster, user_scan.POINTS, user_scan.light())
    assert orientation.transposed
    assert orientation.rotation_deg == pytest.approx(user_scan.ROTATION_DEG, abs=4)
    tried = orientation.report()["search"]["misfit"]
    # Both handednesses and both directions were tried.
    assert {(entry["detector_transposed"], entry["rotation_deg"] // 180) for entry in tried} == {
        *((False, 0), (False, 1), (True, 0), (True, 1))
    }


def test_the_search_finds_the_orientation_of_a_real_scan(real_data):
    entry = user_scan.settings(
        patterns="rotavirus_24x24.h5",
        dataset="data",
        binning=4,
        detector_px=64,
        center_px=None,
        step_a=31.25,
        rotation="search",
        detector_transposed=False,
        probe={"voltage_kv": 300.0, "semiangle_mrad": 1.03, "defocus_a": 135000.0, "amplitude": "mean_pattern"},
        dose_max_e=200000.0,
    )
    report = checked_scan(check(Apply, entry), real_data / "rotavirus_24x24.h5", None, None).report
    assert report["disc"]["radius_px"] == pytest.approx(62.9, abs=2)
    assert report["disc"]["center_px"] == pytest.approx((127.4, 126.5), abs=1)
    assert report["orientation"]["detector_transposed"]
    assert report["orientation"]["rotation_deg"] == pytest.approx(120, abs=6)
