# Cryo-EM particles to poses and class averages: stacks → pair-wise network → joint network → poses → figure.
from workflow_scripts.alignment.settings import is_file as alignment_is_file


rule alignment_synthesize:
    input:
        code=code("alignment", "synthesize"),
        sources=[
            path
            for path in section("alignment", "synthesize").particles
            if alignment_is_file(path)
        ],
    output:
        stack="<results>/alignment/synthesize/{split}/shard{shard}.mrcs",
        star="<results>/alignment/synthesize/{split}/shard{shard}.star",
        centres="<results>/alignment/synthesize/{split}/shard{shard}_centres.mrcs",
        provenance="<results>/alignment/synthesize/{split}/shard{shard}.provenance.json",
    log:
        "<results>/logs/alignment/synthesize_{split}_{shard}.log",
    benchmark:
        "<results>/benchmarks/alignment/synthesize_{split}_{shard}.tsv"
    wildcard_constraints:
        split="train|test",
    conda:
        "../envs/study.yaml"
    threads: 1
    resources:
        mem_mb=memory("alignment", None, 3),
        runtime=minutes(60),
        gpu=STUDY.compute.gpus,
    params:
        settings=settings("alignment", "synthesize"),
        files=lambda wildcards, input: flags(sources=input.sources),
    shell:
        "python -m workflow_scripts.alignment.synthesize"
        " --split {wildcards.split} --shard {wildcards.shard} {params.settings:q} {params.files:q}"
        " --gpus {resources.gpu} --stack {output.stack:q} --star {output.star:q} --centres {output.centres:q}"
        " --provenance {output.provenance:q} 2> {log:q}"


rule alignment_pretrain:
    input:
        code=code("alignment", "pretrain"),
        stacks=expand(
            "<results>/alignment/synthesize/train/shard{shard}.mrcs",
            shard=range(section("alignment", "synthesize").train_shards),
        ),
        stars=expand(
            "<results>/alignment/synthesize/train/shard{shard}.star",
            shard=range(section("alignment", "synthesize").train_shards),
        ),
        centres=expand(
            "<results>/alignment/synthesize/train/shard{shard}_centres.mrcs",
            shard=range(section("alignment", "synthesize").train_shards),
        ),
    output:
        weights="<results>/alignment/pretrain/{variant}/seed{seed}/weights.safetensors",
        history="<results>/alignment/pretrain/{variant}/seed{seed}/history.csv",
        provenance="<results>/alignment/pretrain/{variant}/seed{seed}/provenance.json",
    log:
        "<results>/logs/alignment/pretrain_{variant}_seed{seed}.log",
    benchmark:
        "<results>/benchmarks/alignment/pretrain_{variant}_seed{seed}.tsv"
    conda:
        "../envs/study.yaml"
    threads: STUDY.compute.threads
    resources:
        mem_mb=memory("alignment", "train", 3),
        runtime=minutes(720),
        gpu=STUDY.compute.gpus,
    params:
        settings=settings("alignment", "pretrain"),
        microscope=as_arguments(
            section("alignment", "synthesize").microscope, "microscope."
        ),
        largest_shift_px=section("alignment", "synthesize").largest_shift_px,
        precision=STUDY.compute.precision,
    shell:
        "python -m workflow_scripts.alignment.pretrain"
        " --variant {wildcards.variant} --seed {wildcards.seed} {params.settings:q} {params.microscope:q}"
        " --largest-shift-px {params.largest_shift_px}"
        " --gpus {resources.gpu} --precision {params.precision}"
        " --stacks {input.stacks:q} --stars {input.stars:q} --centres {input.centres:q}"
        " --weights {output.weights:q} --history {output.history:q} --provenance {output.provenance:q} 2> {log:q}"


rule alignment_finetune:
    input:
        code=code("alignment", "finetune"),
        weights=rules.alignment_pretrain.output.weights,
        centres=rules.alignment_pretrain.input.centres,
        test_stack="<results>/alignment/synthesize/test/shard0.mrcs",
        test_star="<results>/alignment/synthesize/test/shard0.star",
    output:
        weights="<results>/alignment/finetune/{variant}/seed{seed}/weights.safetensors",
        history="<results>/alignment/finetune/{variant}/seed{seed}/history.csv",
        provenance="<results>/alignment/finetune/{variant}/seed{seed}/provenance.json",
    log:
        "<results>/logs/alignment/finetune_{variant}_seed{seed}.log",
    benchmark:
        "<results>/benchmarks/alignment/finetune_{variant}_seed{seed}.tsv"
    conda:
        "../envs/study.yaml"
    threads: STUDY.compute.threads
    resources:
        mem_mb=memory("alignment", "train", 3),
        runtime=minutes(240),
        gpu=STUDY.compute.gpus,
    params:
        settings=settings("alignment", "finetune"),
        microscope=as_arguments(
            section("alignment", "synthesize").microscope, "microscope."
        ),
        precision=STUDY.compute.precision,
    shell:
        "python -m workflow_scripts.alignment.finetune"
        " --variant {wildcards.variant} --seed {wildcards.seed} {params.settings:q} {params.microscope:q}"
        " --gpus {resources.gpu} --precision {params.precision} --pretrained {input.weights:q}"
        " --centres {input.centres:q}"
        " --test-stack {input.test_stack:q} --test-star {input.test_star:q}"
        " --weights {output.weights:q} --history {output.history:q} --provenance {output.provenance:q} 2> {log:q}"


rule alignment_predict:
    input:
        code=code("alignment", "predict"),
        pretrained=rules.alignment_pretrain.output.weights,
        finetuned=rules.alignment_finetune.output.weights,
        stack="<results>/alignment/synthesize/test/shard0.mrcs",
        star="<results>/alignment/synthesize/test/shard0.star",
    output:
        predictions="<results>/alignment/predict/{variant}/seed{seed}/predictions.npz",
        provenance="<results>/alignment/predict/{variant}/seed{seed}/provenance.json",
    log:
        "<results>/logs/alignment/predict_{variant}_seed{seed}.log",
    benchmark:
        "<results>/benchmarks/alignment/predict_{variant}_seed{seed}.tsv"
    conda:
        "../envs/study.yaml"
    threads: STUDY.compute.threads
    resources:
        mem_mb=memory("alignment", "test", 2),
        runtime=minutes(60),
        gpu=STUDY.compute.gpus,
    params:
        settings=settings("alignment", "predict"),
        precision=STUDY.compute.precision,
    shell:
        "python -m workflow_scripts.alignment.predict"
        " --estimator {wildcards.variant} --training-seed {wildcards.seed} {params.settings:q}"
        " --gpus {resources.gpu} --precision {params.precision}"
        " --pretrained {input.pretrained:q} --finetuned {input.finetuned:q}"
        " --stack {input.stack:q} --star {input.star:q}"
        " --predictions {output.predictions:q} --provenance {output.provenance:q} 2> {log:q}"


rule alignment_predict_baseline:
    input:
        code=code("alignment", "predict"),
        stack="<results>/alignment/synthesize/test/shard0.mrcs",
        star="<results>/alignment/synthesize/test/shard0.star",
    output:
        predictions="<results>/alignment/predict/{baseline}/seed0/predictions.npz",
        provenance="<results>/alignment/predict/{baseline}/seed0/provenance.json",
    log:
        "<results>/logs/alignment/predict_{baseline}.log",
    benchmark:
        "<results>/benchmarks/alignment/predict_{baseline}.tsv"
    wildcard_constraints:
        baseline="polar_pairwise|polar_joint",
    conda:
        "../envs/study.yaml"
    threads: STUDY.compute.threads
    resources:
        mem_mb=memory("alignment", "test", 2),
        runtime=minutes(60),
        gpu=STUDY.compute.gpus,
    params:
        settings=settings("alignment", "predict"),
        precision=STUDY.compute.precision,
    shell:
        "python -m workflow_scripts.alignment.predict"
        " --estimator {wildcards.baseline} --training-seed 0 {params.settings:q}"
        " --gpus {resources.gpu} --precision {params.precision}"
        " --stack {input.stack:q} --star {input.star:q}"
        " --predictions {output.predictions:q} --provenance {output.provenance:q} 2> {log:q}"


rule alignment_evaluate:
    input:
        code=code("alignment", "evaluate"),
        stack="<results>/alignment/synthesize/test/shard0.mrcs",
        star="<results>/alignment/synthesize/test/shard0.star",
        centres="<results>/alignment/synthesize/test/shard0_centres.mrcs",
        predictions=[
            *expand(
                rules.alignment_predict_baseline.output.predictions,
                baseline=section("alignment", "evaluate").baselines,
            ),
            *expand(
                rules.alignment_predict.output.predictions,
                variant=STUDY.variants,
                seed=STUDY.seeds,
            ),
        ],
    output:
        metrics="<results>/alignment/evaluate/metrics.csv",
        examples="<results>/alignment/evaluate/examples.npz",
        provenance="<results>/alignment/evaluate/provenance.json",
    log:
        "<results>/logs/alignment/evaluate.log",
    benchmark:
        "<results>/benchmarks/alignment/evaluate.tsv"
    conda:
        "../envs/study.yaml"
    threads: 2
    resources:
        mem_mb=memory("alignment", "test", 2),
        runtime=minutes(60),
        gpu=0,
    params:
        settings=settings("alignment", "evaluate"),
    shell:
        "python -m workflow_scripts.alignment.evaluate {params.settings:q}"
        " --stack {input.stack:q} --star {input.star:q} --centres {input.centres:q}"
        " --predictions {input.predictions:q} --metrics {output.metrics:q} --examples {output.examples:q}"
        " --provenance {output.provenance:q} 2> {log:q}"


rule alignment_plot:
    input:
        code=code("alignment", "plot"),
        metrics=rules.alignment_evaluate.output.metrics,
        examples=rules.alignment_evaluate.output.examples,
    output:
        svg=report(
            "<results>/figures/alignment.svg",
            caption="../docs/report/alignment.rst",
            category="2 Results",
            labels={"figure": "alignment: from noisy particles to poses"},
        ),
        pdf="<results>/figures/alignment.pdf",
        png="<results>/figures/alignment.png",
        csv="<results>/figures/alignment.csv",
        provenance="<results>/figures/alignment.provenance.json",
    log:
        "<results>/logs/alignment/plot.log",
    benchmark:
        "<results>/benchmarks/alignment/plot.tsv"
    localrule: True
    conda:
        "../envs/study.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
        gpu=0,
    params:
        settings=settings("alignment", "plot"),
    shell:
        "python -m workflow_scripts.alignment.plot {params.settings:q}"
        " --metrics {input.metrics:q} --examples {input.examples:q}"
        " --svg {output.svg:q} --pdf {output.pdf:q} --png {output.png:q} --csv {output.csv:q}"
        " --provenance {output.provenance:q} 2> {log:q}"


rule alignment:
    input:
        rules.alignment_evaluate.output,
        rules.alignment_plot.output,


rule alignment_figures:
    input:
        rules.alignment_plot.output,


include: "alignment_apply.smk"
