# What the methods' results become together: figures, the ledger of claims, and the check of all of it.
localrules:
    verify,
    figures,
    claims,


rule figures:
    input:
        of_all_methods("<results>/figures/{method}.svg"),


rule claims:
    input:
        "<results>/claims.csv",


rule ledger:
    input:
        code=code("study", "ledger"),
        claims=of_all_methods("workflow_scripts/{method}/claims.yaml"),
        metrics=of_all_methods("<results>/{method}/evaluate/metrics.csv"),
    output:
        csv="<results>/claims.csv",
        html=report(
            "<results>/tables/claims.html",
            caption="../docs/report/claims.rst",
            category="Claims",
            labels={"table": "the ledger: what was stated, what was measured"},
        ),
        provenance="<results>/claims.provenance.json",
    params:
        scale=STUDY.scale,
    log:
        "<results>/logs/study/ledger.log",
    benchmark:
        "<results>/benchmarks/study/ledger.tsv"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=5,
        gpu=0,
    conda:
        "../envs/study.yaml"
    shell:
        "python -m workflow_scripts.study.ledger --scale {params.scale}"
        " --claims {input.claims:q} --metrics {input.metrics:q}"
        " --csv {output.csv:q} --html {output.html:q} --provenance {output.provenance:q} 2> {log:q}"


rule verify:
    params:
        folder=f"results/{STUDY.scale}",
        settings=present_settings(),
    log:
        "<results>/logs/study/verify.log",
    threads: 1
    resources:
        mem_mb=1000,
        runtime=30,
        gpu=0,
    conda:
        "../envs/study.yaml"
    shell:
        "python -m workflow_scripts.workflow.verify {params.folder:q} --settings {params.settings:q} 2>&1 | tee {log:q}"
