# What is made from the results of all methods: overview, tables, cost, the ledger of claims, and checks.
import json


localrules:
    verify,
    compare,


METRICS = of_all_methods("<results>/{method}/evaluate/metrics.csv")
BY_SOURCE = of_all_methods("<results>/{method}/evaluate/by_source.csv")


use rule plot as ledger with:
    input:
        claims=beside_code("claims.yaml"),
        metrics=METRICS,
        by_source=BY_SOURCE,
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
    localrule: True
    params:
        **tracked_study("ledger", data=beside_code("claims.yaml")),


use rule plot as results_table with:
    input:
        metrics="<results>/{method}/evaluate/metrics.csv",
        by_source="<results>/{method}/evaluate/by_source.csv",
        estimators=lambda wildcards: beside_code(REGISTRY_FILE, [wildcards.method]),
        overview=lambda wildcards: beside_code("overview.yaml", [wildcards.method]),
    output:
        **table(
            "{method}",
            category="2 Results",
            caption="../docs/report/table.rst",
            labels={"figure": "{method}: table of all numbers"},
        ),
    log:
        "<results>/logs/study/table_{method}.log",
    wildcard_constraints:
        method=alternatives(STUDY.methods),
    localrule: True
    params:
        **tracked_study("result_table"),
        beside=lambda wildcards: file_digest(
            beside_code(REGISTRY_FILE, [wildcards.method])
            + beside_code("overview.yaml", [wildcards.method])
        ),


use rule plot as cost with:
    input:
        metrics=METRICS,
        figures=of_all_methods("<results>/figures/{method}.csv"),
    output:
        **table(
            "cost",
            category="4 Cost",
            caption="../docs/report/cost.rst",
            labels={"table": "time, memory, GPU-hours and energy"},
        ),
    log:
        "<results>/logs/study/cost.log",
    localrule: True
    params:
        **tracked_study("cost", folder=RESULTS),


use rule plot as overview with:
    input:
        **overview_inputs("metrics.csv", "by_source.csv", "examples.npz"),
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
    localrule: True
    params:
        **tracked_study(
            "overview",
            data=beside_code("overview.yaml") + beside_code(REGISTRY_FILE),
        ),


use rule plot as quality_cost with:
    input:
        **overview_inputs("metrics.csv"),
    output:
        svg=report(
            "<results>/figures/quality_cost.svg",
            caption="../docs/report/quality_cost.rst",
            category="4 Cost",
            labels={"figure": "every estimator: error against CPU time"},
        ),
        pdf="<results>/figures/quality_cost.pdf",
        png="<results>/figures/quality_cost.png",
        csv="<results>/figures/quality_cost.csv",
        provenance="<results>/figures/quality_cost.provenance.json",
    log:
        "<results>/logs/study/quality_cost.log",
    localrule: True
    params:
        **tracked_study(
            "quality_cost",
            data=beside_code("overview.yaml") + beside_code(REGISTRY_FILE),
            folder=RESULTS,
        ),


use rule plot as comparison with:
    input:
        metrics=METRICS,
        reference=reference_metrics(),
    output:
        csv="<results>/tables/compare.csv",
        md="<results>/tables/compare.md",
        short="<results>/tables/compare.txt",
        provenance="<results>/tables/compare.provenance.json",
    log:
        "<results>/logs/study/comparison.log",
    localrule: True
    params:
        **tracked_study(
            "comparison",
            folder=RESULTS,
            reference_folder=f"results/reference/{STUDY.scale}",
        ),


use rule plot as benchmark_set with:
    input:
        test=lambda wildcards: test_files(wildcards.method),
        overview=lambda wildcards: beside_code("overview.yaml", [wildcards.method]),
    output:
        archive="<results>/benchmark/{method}.zip",
        provenance="<results>/benchmark/{method}.provenance.json",
    log:
        "<results>/logs/study/benchmark_set_{method}.log",
    wildcard_constraints:
        method=alternatives(STUDY.methods),
    localrule: True
    params:
        **tracked_study("benchmark_set"),
        beside=lambda wildcards: file_digest(
            beside_code("overview.yaml", [wildcards.method])
        ),


rule benchmark_sets:
    input:
        [
            f"{RESULTS}/benchmark/{method}.zip"
            for method in STUDY.methods
            if has_open_benchmark(method)
        ],


rule figures:
    input:
        [path for method in STUDY.methods for path in figures_of(method)],
        rules.overview.output,
        rules.quality_cost.output,


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
    params:
        folder=lambda wildcards: RESULTS,
        settings=json.dumps(recorded_settings(STUDY)),
    shell:
        "python -m workflow_scripts.workflow.verify {params.folder:q} --settings {params.settings:q} 2>&1 | tee {log:q}"


# The targets of every method: its numbers and figures, its figures alone, and all that is made of the user's files.
for method in STUDY.methods:

    rule:
        name:
            method
        input:
            [f"{RESULTS}/{method}/evaluate/metrics.csv", *figures_of(method)],

    rule:
        name:
            f"{method}_figures"
        input:
            figures_of(method),

    rule:
        name:
            f"{method}_apply"
        input:
            [
                f"{RESULTS}/{method}/apply/{name}/{file}"
                for name, entry in getattr(STUDY.apply, method, {}).items()
                for file in entry.results()
            ],
