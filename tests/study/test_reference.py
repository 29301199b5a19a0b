"""The reference of a scale is a complete run, small enough for git; docs/claims.md agrees with it."""

import pytest

from workflow_scripts.study import claims_page, keep_reference
from workflow_scripts.study.by_source import read_by_source
from workflow_scripts.study.claims_summary import read_ledger
from workflow_scripts.study.ledger import make_ledger, read_claims
from workflow_scripts.study.tables import COLUMNS, read_metrics
from workflow_scripts.workflow.closure import ROOT
from workflow_scripts.workflow.errors import InputError

FILES = (
    *("claims.csv", "claims.provenance.json", "figures/overview.csv", "figures/overview.png", "tables/cost.csv"),
    *("matching/evaluate/metrics.csv", "matching/evaluate/by_source.csv", "matching/evaluate/provenance.json"),
    *("matching/synthesize/test/shard0.npz",),
    *("matching/evaluate/examples.npz", "matching/apply/mine/provenance.json", "tables/compare.md", "logs/study/x.log"),
)
COPIED = {*FILES[:8]}


@pytest.fixture
def run(tmp_path):
    for name in FILES:
        (tmp_path / "run" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "run" / name).write_text(name)
    return tmp_path / "run"


def test_numbers_figures_and_provenance_are_kept_and_data_are_not(run, tmp_path):
    reference = tmp_path / "reference" / "laptop"
    (reference / "old").mkdir(parents=True)
    (reference / "old" / "metrics.csv").write_text("of a run before")
    keep_reference.keep(run, reference)
    assert {path.relative_to(reference).as_posix() for path in reference.rglob("*") if path.is_file()} == COPIED
    assert [path.name for path in reference.parent.iterdir()] == ["laptop"]


@pytest.mark.parametrize("missing", ["claims.csv", "tables/cost.csv", "matching/evaluate/metrics.csv"])
def test_half_a_run_is_refused_and_the_old_reference_stays(missing, run, tmp_path):
    keep_reference.keep(run, tmp_path / "laptop")
    (run / missing).unlink()
    with pytest.raises(InputError, match=f"lacks {missing}"):
        keep_reference.keep(run, tmp_path / "laptop")
    assert (tmp_path / "laptop" / missing).is_file()


def test_what_is_too_large_for_git_is_refused(run, tmp_path):
    (run / "figures" / "overview.png").write_bytes(bytes(21_000_000))
    with pytest.raises(InputError, match=r"21.0 MB in git"):
        keep_reference.keep(run, tmp_path / "laptop")
    assert not (tmp_path / "laptop").exists()


def test_the_page_of_claims_is_up_to_date():
    assert (ROOT / claims_page.PAGE).read_text(encoding="utf-8") == claims_page.claims_page(), (
        "run: python -m workflow_scripts.study.claims_page"
    )


CLAIM = """- claim: It is good
  metric: r2
  unit: "1"
  condition: headline
  scale: {scale}
  target: {{op: ">=", value: 0.9}}
  computed: by us
  source: our target
"""


@pytest.mark.parametrize(
    ("scale", "value", "verdict"),
    [
        ("laptop", 0.95, "**holds: 0.95 where >= 0.9 was set; by its value alone, n = 3**"),
        ("laptop", 0.8999999, "**fails: 0.8999999 where >= 0.9 was set; by its value alone, n = 3**"),
        ("gpu", 0.95, "not measured: no reference run of gpu"),
    ],
)
def test_the_page_judges_a_claim_by_the_reference_of_its_scale(scale, value, verdict, tmp_path):
    folder = tmp_path / "workflow_scripts" / "matching"
    folder.mkdir(parents=True)
    (folder / "claims.yaml").write_text(CLAIM.format(scale=scale))
    path = tmp_path / "results/reference/laptop/matching/evaluate/metrics.csv"
    path.parent.mkdir(parents=True)
    path.write_text(f"{','.join(COLUMNS)}\ncorrected,dose_e=1,,r2,value,1,{value},,,3,yes\n")
    assert verdict in claims_page.claims_page(tmp_path)


@pytest.mark.parametrize("folder", sorted((ROOT / claims_page.REFERENCE).glob("*")), ids=lambda folder: folder.name)
def test_a_committed_reference_agrees_with_itself(folder):
    """Its ledger follows from its metrics, their sources and the present claims."""
    metrics = {path.parents[1].name: read_metrics(path) for path in folder.glob("*/evaluate/metrics.csv")}
    sources = {path.parents[1].name: read_by_source(path) for path in folder.glob("*/evaluate/by_source.csv")}
    claims = [
        claim
        for path in sorted((ROOT / "workflow_scripts").glob("*/claims.yaml"))
        for claim in read_claims(path, path.parent.name)
    ]
    now = make_ledger(claims, metrics, folder.name, sources).set_index(["method", "claim"])["holds"]
    kept = read_ledger(folder / "claims.csv").set_index(["method", "claim"])["holds"]
    assert kept.to_dict() == now.to_dict(), "run: make reference"
    assert sum(path.stat().st_size for path in folder.rglob("*")) <= keep_reference.LARGEST_MB * 1e6
