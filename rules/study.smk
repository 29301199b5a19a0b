# What the methods' results become together: overview, tables, cost, the ledger of claims, and the checks of all of it.
localrules:
    verify,
    figures,
    tables,
    claims,
    compare,


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
            category="3 Claims",
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


rule results_table:
    input:
        code=code("study", "publish_table"),
        metrics="<results>/{method}/evaluate/metrics.csv",
        overview=lambda wildcards: described([wildcards.method]),
    output:
        csv="<results>/tables/{method}.csv",
        md="<results>/tables/{method}.md",
        tex="<results>/tables/{method}.tex",
        html=report(
            "<results>/tables/{method}.html",
            caption="../docs/report/table.rst",
            category="2 Results",
            labels={"figure": "{method}: table of all numbers"},
        ),
        provenance="<results>/tables/{method}.provenance.json",
    log:
        "<results>/logs/study/table_{method}.log",
    benchmark:
        "<results>/benchmarks/study/table_{method}.tsv"
    wildcard_constraints:
        method="|".join(STUDY.methods),
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
        files=lambda wildcards, input: flags(overview=input.overview),
    shell:
        "python -m workflow_scripts.study.publish_table --method {wildcards.method} --scale {params.scale}"
        " --metrics {input.metrics:q} {params.files:q}"
        " --csv {output.csv:q} --md {output.md:q} --tex {output.tex:q} --html {output.html:q}"
        " --provenance {output.provenance:q} 2> {log:q}"


rule cost:
    input:
        code=code("study", "publish_cost"),
        metrics=of_all_methods("<results>/{method}/evaluate/metrics.csv"),
        figures=of_all_methods("<results>/figures/{method}.csv"),
    output:
        csv="<results>/tables/cost.csv",
        md="<results>/tables/cost.md",
        tex="<results>/tables/cost.tex",
        html=report(
            "<results>/tables/cost.html",
            caption="../docs/report/cost.rst",
            category="4 Cost",
            labels={"table": "time, memory, GPU-hours and energy"},
        ),
        provenance="<results>/tables/cost.provenance.json",
    log:
        "<results>/logs/study/cost.log",
    benchmark:
        "<results>/benchmarks/study/cost.tsv"
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
        folder=lambda wildcards: f"results/{STUDY.scale}",
    shell:
        "python -m workflow_scripts.study.publish_cost --scale {params.scale} --folder {params.folder:q}"
        " --metrics {input.metrics:q} --figures {input.figures:q}"
        " --csv {output.csv:q} --md {output.md:q} --tex {output.tex:q} --html {output.html:q}"
        " --provenance {output.provenance:q} 2> {log:q}"


rule overview:
    input:
        code=code("study", "publish_overview"),
        overviews=described(STUDY.methods),
        metrics=[
            f"<results>/{method}/evaluate/metrics.csv"
            for method in with_overview(STUDY.methods)
        ],
        examples=[overview_examples(method) for method in with_overview(STUDY.methods)],
        cost=rules.cost.output.csv,
    output:
        svg=report(
            "<results>/figures/overview.svg",
            caption="../docs/report/overview.rst",
            category="1 Question, data, methods",
            labels={"page": "what goes in, what comes out, who wins, what it costs"},
        ),
        pdf="<results>/figures/overview.pdf",
        png="<results>/figures/overview.png",
        csv="<results>/figures/overview.csv",
        provenance="<results>/figures/overview.provenance.json",
    log:
        "<results>/logs/study/overview.log",
    benchmark:
        "<results>/benchmarks/study/overview.tsv"
    localrule: True
    conda:
        "../envs/study.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=10,
        gpu=0,
    params:
        scale=STUDY.scale,
    shell:
        "python -m workflow_scripts.study.publish_overview --scale {params.scale}"
        " --overviews {input.overviews:q} --metrics {input.metrics:q} --examples {input.examples:q}"
        " --cost {input.cost:q} --svg {output.svg:q} --pdf {output.pdf:q} --png {output.png:q}"
        " --csv {output.csv:q} --provenance {output.provenance:q} 2> {log:q}"


rule story:
    input:
        code=code("study", "publish_story"),
        overviews=described(STUDY.methods),
        cost=rules.cost.output.csv,
    output:
        methods=report(
            "<results>/tables/methods.html",
            caption="../docs/report/methods.rst",
            category="1 Question, data, methods",
            labels={"page": "each method in words"},
        ),
        runs=report(
            "<results>/tables/provenance.html",
            caption="../docs/report/provenance.rst",
            category="5 Provenance",
            labels={"page": "who made what, with which code and settings"},
        ),
        provenance="<results>/tables/story.provenance.json",
    log:
        "<results>/logs/study/story.log",
    benchmark:
        "<results>/benchmarks/study/story.tsv"
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
        folder=lambda wildcards: f"results/{STUDY.scale}",
    shell:
        "python -m workflow_scripts.study.publish_story --scale {params.scale} --folder {params.folder:q}"
        " --overviews {input.overviews:q} --cost {input.cost:q}"
        " --methods {output.methods:q} --runs {output.runs:q} --provenance {output.provenance:q} 2> {log:q}"


rule comparison:
    input:
        code=code("study", "publish_comparison"),
        metrics=of_all_methods("<results>/{method}/evaluate/metrics.csv"),
        reference=reference_metrics(),
    output:
        csv="<results>/tables/compare.csv",
        md="<results>/tables/compare.md",
        short="<results>/tables/compare.txt",
        provenance="<results>/tables/compare.provenance.json",
    log:
        "<results>/logs/study/comparison.log",
    benchmark:
        "<results>/benchmarks/study/comparison.tsv"
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
        folder=lambda wildcards: f"results/{STUDY.scale}",
        reference_folder=lambda wildcards: f"results/reference/{STUDY.scale}",
        files=lambda wildcards, input: flags(reference=input.reference),
    shell:
        "python -m workflow_scripts.study.publish_comparison --scale {params.scale}"
        " --folder {params.folder:q} --reference-folder {params.reference_folder:q}"
        " --metrics {input.metrics:q} {params.files:q}"
        " --csv {output.csv:q} --md {output.md:q} --short {output.short:q}"
        " --provenance {output.provenance:q} 2> {log:q}"


rule figures:
    input:
        [
            path
            for method in STUDY.methods
            for path in getattr(rules, f"{method}_figures").input
        ],
        rules.overview.output,


rule tables:
    input:
        expand(rules.results_table.output, method=STUDY.methods),
        rules.cost.output,


rule claims:
    input:
        rules.ledger.output,


rule compare:
    input:
        rules.comparison.output.short,
    log:
        "<results>/logs/study/compare.log",
    conda:
        "../envs/study.yaml"
    threads: 1
    resources:
        mem_mb=500,
        runtime=5,
        gpu=0,
    shell:
        "cat {input:q} 2> {log:q}"


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
        folder=lambda wildcards: f"results/{STUDY.scale}",
        settings=present_settings(),
    shell:
        "python -m workflow_scripts.workflow.verify {params.folder:q} --settings {params.settings:q} 2>&1 | tee {log:q}"
