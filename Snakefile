# Beamtime: five deep-learning studies in nano-imaging as one DAG; docs/architecture.md explains the structure.
from snakemake.utils import min_version

from workflow_scripts.workflow.configuration import scale_file

min_version("9.19")


configfile: "config.yaml"
configfile: scale_file(config)


report: "docs/report/study.rst"


pathvars:
    results=f"results/{config['scale']}",


include: "rules/common.smk"
include: "rules/stages.smk"


for method in STUDY.methods:

    include: f"rules/{method}.smk"


include: "rules/study.smk"


rule all:
    default_target: True
    input:
        rules.figures.input,
        rules.tables.input,
        rules.claims.input,
