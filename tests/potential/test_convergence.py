"""How wide a cell must be: errors fall with the field of view, and rise where the beam wraps around."""

from dataclasses import replace

import pytest

from tests.potential.toy import MICROSCOPE
from workflow_scripts.potential.evaluation import convergence
from workflow_scripts.potential.evaluation.convergence import as_text, field_errors, pixel_errors
from workflow_scripts.potential.simulation.samples import MATCHED, RING
from workflow_scripts.potential.simulation.structures import crystal

# Smaller angles allow larger pixels, and the test is quick
LIGHT = replace(MICROSCOPE, ring_mrad={RING: (10.0, 30.0), MATCHED: (0.0, 20.0)})


@pytest.fixture(scope="module")
def rows():
    return field_errors(crystal("SrTiO3"), LIGHT, (4.0, 8.0, 16.0, 24.0), (4.0, 40.0))


def test_every_narrower_field_has_a_row_and_the_cone_is_the_geometrical_one(rows):
    assert {row["detector"] for row in rows} == {RING, MATCHED}
    assert len(rows) == 2 * 2 * 3
    assert {row["thickness_nm"] for row in rows} == {4.0, 40.0}
    assert all(row["cone_a"] == pytest.approx(2 * 20e-3 * 10 * row["thickness_nm"]) for row in rows)
    assert all(set(row) == set(convergence.COLUMNS) for row in rows)


def test_wider_fields_are_closer_to_the_widest(rows):
    for detector in (RING, MATCHED):
        for thickness in (4.0, 40.0):
            found = [r for r in rows if (r["detector"], r["thickness_nm"]) == (detector, thickness)]
            errors = [row["error_percent_of_contrast"] for row in sorted(found, key=lambda row: row["field_a"])]
            assert errors[0] > 2 * errors[-1] > 0


def test_in_a_field_narrower_than_its_cone_a_thick_crystal_suffers_more(rows):
    narrow = {
        r["thickness_nm"]: r["error_percent_of_contrast"] for r in rows if r["detector"] == RING and r["field_a"] < 10
    }
    assert narrow[40.0] > 1.5 * narrow[4.0]


def test_finer_pixels_are_closer_to_the_finest_and_the_thick_need_them_more():
    rows = pixel_errors(crystal("SrTiO3"), LIGHT, (0.4, 0.25, 0.18, 0.12), (4.0, 12.0))
    ring = {
        (row["pixel_a"], row["thickness_nm"]): row["error_percent_of_contrast"]
        for row in rows
        if row["detector"] == RING
    }
    # Pixels of 0.4 Å do not carry the detector, those of 0.12 Å are the reference
    assert set(ring) == {(pixel, thickness) for pixel in (0.25, 0.18) for thickness in (4.0, 12.0)}
    for thickness in (4.0, 12.0):
        assert ring[0.25, thickness] > 1.5 * ring[0.18, thickness] > 0
    assert ring[0.25, 12.0] > ring[0.25, 4.0]


def test_fields_that_tile_alike_are_one_and_text_has_six_digits():
    rows = field_errors(crystal("SrTiO3"), LIGHT, (4.1, 7.5, 11.0), (2.0,))
    assert [row["field_a"] for row in rows] == pytest.approx([2 * 3.90528] * 2)
    assert as_text([{"detector": "ring", "field_a": 1 / 3}]) == [{"detector": "ring", "field_a": "0.333333"}]
