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
        code=code("study", "publish_ledger"),
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
    log:
        "<results>/logs/study/ledger.log",
    benchmark:
        "<results>/benchmarks/study/ledger.tsv"
    localrule: True
    conda:
        "../envs/study.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=5,
        gpu=0,
    params:
        scale=STUDY.scale,
    shell:
        "python -m workflow_scripts.study.publish_ledger --scale {params.scale}"
        " --claims {input.claims:q} --metrics {input.metrics:q}"
        " --csv {output.csv:q} --html {output.html:q} --provenance {output.provenance:q} 2> {log:q}"


rule verify:
    log:
        "<results>/logs/study/verify.log",
    conda:
        "../envs/study.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=30,
        gpu=0,
    params:
        folder=f"results/{STUDY.scale}",
        settings=present_settings(),
    shell:
        "python -m workflow_scripts.workflow.verify {params.folder:q} --settings {params.settings:q} 2>&1 | tee {log:q}"
