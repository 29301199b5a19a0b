# 4D-STEM patterns to phase images: photographs → phase objects → patterns → network → stitched images → figure.
from workflow_scripts.diffractive_imaging.sources import job_inputs
from workflow_scripts.diffractive_imaging.variants import (
    ABLATIONS,
    ARMS,
    ablation_arms,
)


rule diffractive_imaging_synthesize:
    input:
        code=code("diffractive_imaging", "synthesize"),
        probe=listed(section("diffractive_imaging", "synthesize").probe.file),
        train=lambda wildcards: job_inputs(
            section("diffractive_imaging", "synthesize").photographs,
            "train",
            wildcards.split,
            int(wildcards.shard),
            section("diffractive_imaging", "synthesize").train_shards,
        ),
        validation=lambda wildcards: job_inputs(
            section("diffractive_imaging", "synthesize").photographs,
            "validation",
            wildcards.split,
            int(wildcards.shard),
            section("diffractive_imaging", "synthesize").train_shards,
        ),
        test=lambda wildcards: job_inputs(
            section("diffractive_imaging", "synthesize").photographs,
            "test",
            wildcards.split,
            int(wildcards.shard),
            section("diffractive_imaging", "synthesize").train_shards,
        ),
    output:
        arrays="<results>/diffractive_imaging/synthesize/{split}/shard{shard}.npz",
        provenance="<results>/diffractive_imaging/synthesize/{split}/shard{shard}.provenance.json",
    log:
        "<results>/logs/diffractive_imaging/synthesize_{split}_{shard}.log",
    benchmark:
        "<results>/benchmarks/diffractive_imaging/synthesize_{split}_{shard}.tsv"
    wildcard_constraints:
        split="train|test",
    conda:
        "../envs/study.yaml"
    threads: 1
    resources:
        mem_mb=memory("diffractive_imaging", None, 5),
        runtime=30,
        gpu=0,
    params:
        settings=settings("diffractive_imaging", "synthesize"),
        files=lambda wildcards, input: flags(
            probe=input.probe,
            train=input.train,
            validation=input.validation,
            test=input.test,
        ),
    shell:
        "python -m workflow_scripts.diffractive_imaging.synthesize"
        " --split {wildcards.split} --shard {wildcards.shard} {params.settings:q} {params.files:q}"
        " --arrays {output.arrays:q} --provenance {output.provenance:q} 2> {log:q}"


rule diffractive_imaging_pretrain:
    input:
        code=code("diffractive_imaging", "pretrain"),
        shards=expand(
            "<results>/diffractive_imaging/synthesize/train/shard{shard}.npz",
            shard=range(section("diffractive_imaging", "synthesize").train_shards),
        ),
    output:
        weights="<results>/diffractive_imaging/pretrain/{variant}/seed{seed}/weights.safetensors",
        last="<results>/diffractive_imaging/pretrain/{variant}/seed{seed}/last.safetensors",
        history="<results>/diffractive_imaging/pretrain/{variant}/seed{seed}/history.csv",
        provenance="<results>/diffractive_imaging/pretrain/{variant}/seed{seed}/provenance.json",
    log:
        "<results>/logs/diffractive_imaging/pretrain_{variant}_seed{seed}.log",
    benchmark:
        "<results>/benchmarks/diffractive_imaging/pretrain_{variant}_seed{seed}.tsv"
    wildcard_constraints:
        variant="|".join(ARMS),
    conda:
        "../envs/study.yaml"
    threads: STUDY.compute.threads
    resources:
        mem_mb=memory("diffractive_imaging", "train", 5),
        runtime=minutes(240),
        gpu=STUDY.compute.gpus,
    params:
        settings=settings("diffractive_imaging", "pretrain"),
        precision=STUDY.compute.precision,
    shell:
        "python -m workflow_scripts.diffractive_imaging.pretrain"
        " --variant {wildcards.variant} --seed {wildcards.seed} {params.settings:q}"
        " --gpus {resources.gpu} --precision {params.precision} --shards {input.shards:q}"
        " --weights {output.weights:q} --last {output.last:q} --history {output.history:q}"
        " --provenance {output.provenance:q} 2> {log:q}"


rule diffractive_imaging_finetune:
    input:
        code=code("diffractive_imaging", "finetune"),
        weights=rules.diffractive_imaging_pretrain.output.weights,
        measured="<results>/diffractive_imaging/synthesize/test/shard0.npz",
    output:
        weights="<results>/diffractive_imaging/finetune/{variant}/seed{seed}/weights.safetensors",
        history="<results>/diffractive_imaging/finetune/{variant}/seed{seed}/history.csv",
        provenance="<results>/diffractive_imaging/finetune/{variant}/seed{seed}/provenance.json",
    log:
        "<results>/logs/diffractive_imaging/finetune_{variant}_seed{seed}.log",
    benchmark:
        "<results>/benchmarks/diffractive_imaging/finetune_{variant}_seed{seed}.tsv"
    conda:
        "../envs/study.yaml"
    threads: STUDY.compute.threads
    resources:
        mem_mb=memory("diffractive_imaging", "test", 2),
        runtime=minutes(120),
        gpu=STUDY.compute.gpus,
    params:
        settings=settings("diffractive_imaging", "finetune"),
        precision=STUDY.compute.precision,
    shell:
        "python -m workflow_scripts.diffractive_imaging.finetune"
        " --variant {wildcards.variant} --seed {wildcards.seed} {params.settings:q}"
        " --gpus {resources.gpu} --precision {params.precision}"
        " --pretrained {input.weights:q} --measured {input.measured:q}"
        " --weights {output.weights:q} --history {output.history:q} --provenance {output.provenance:q} 2> {log:q}"


rule diffractive_imaging_predict:
    input:
        code=code("diffractive_imaging", "predict"),
        pretrained=rules.diffractive_imaging_pretrain.output.weights,
        finetuned=lambda wildcards: (
            []
            if wildcards.variant in ABLATIONS
            else expand(
                rules.diffractive_imaging_finetune.output.weights,
                variant=wildcards.variant,
                seed=wildcards.seed,
            )
        ),
        test="<results>/diffractive_imaging/synthesize/test/shard0.npz",
    output:
        predictions="<results>/diffractive_imaging/predict/{variant}/seed{seed}/predictions.npz",
        provenance="<results>/diffractive_imaging/predict/{variant}/seed{seed}/provenance.json",
    log:
        "<results>/logs/diffractive_imaging/predict_{variant}_seed{seed}.log",
    benchmark:
        "<results>/benchmarks/diffractive_imaging/predict_{variant}_seed{seed}.tsv"
    wildcard_constraints:
        variant="|".join(ARMS),
    conda:
        "../envs/study.yaml"
    threads: STUDY.compute.threads
    resources:
        mem_mb=memory("diffractive_imaging", "test", 2),
        runtime=minutes(60),
        gpu=STUDY.compute.gpus,
    params:
        settings=settings("diffractive_imaging", "predict"),
        precision=STUDY.compute.precision,
        files=lambda wildcards, input: flags(finetuned=input.finetuned),
    shell:
        "python -m workflow_scripts.diffractive_imaging.predict"
        " --estimator {wildcards.variant} --seed {wildcards.seed} {params.settings:q}"
        " --gpus {resources.gpu} --precision {params.precision}"
        " --pretrained {input.pretrained:q} {params.files:q} --test {input.test:q}"
        " --predictions {output.predictions:q} --provenance {output.provenance:q} 2> {log:q}"


rule diffractive_imaging_predict_baseline:
    input:
        code=code("diffractive_imaging", "predict"),
        shards=lambda wildcards: (
            rules.diffractive_imaging_pretrain.input.shards
            if wildcards.baseline == "ridge"
            else []
        ),
        test="<results>/diffractive_imaging/synthesize/test/shard0.npz",
    output:
        predictions="<results>/diffractive_imaging/predict/{baseline}/seed0/predictions.npz",
        provenance="<results>/diffractive_imaging/predict/{baseline}/seed0/provenance.json",
    log:
        "<results>/logs/diffractive_imaging/predict_{baseline}.log",
    benchmark:
        "<results>/benchmarks/diffractive_imaging/predict_{baseline}.tsv"
    wildcard_constraints:
        baseline="ridge|dpc|ptychography",
    conda:
        "../envs/study.yaml"
    threads: STUDY.compute.threads
    resources:
        mem_mb=memory("diffractive_imaging", "both", 3),
        runtime=minutes(60),
        gpu=lambda wildcards: (
            STUDY.compute.gpus if wildcards.baseline == "ptychography" else 0
        ),
    params:
        settings=settings("diffractive_imaging", "predict"),
        precision=STUDY.compute.precision,
        files=lambda wildcards, input: flags(shards=input.shards),
    shell:
        "python -m workflow_scripts.diffractive_imaging.predict"
        " --estimator {wildcards.baseline} --seed 0 {params.settings:q}"
        " --gpus {resources.gpu} --precision {params.precision} --test {input.test:q} {params.files:q}"
        " --predictions {output.predictions:q} --provenance {output.provenance:q} 2> {log:q}"


rule diffractive_imaging_evaluate:
    input:
        code=code("diffractive_imaging", "evaluate"),
        test="<results>/diffractive_imaging/synthesize/test/shard0.npz",
        predictions=[
            *expand(
                rules.diffractive_imaging_predict_baseline.output.predictions,
                baseline=section("diffractive_imaging", "evaluate").baselines,
            ),
            *expand(
                rules.diffractive_imaging_predict.output.predictions,
                variant=STUDY.variants,
                seed=STUDY.seeds,
            ),
        ],
        ablated=expand(
            rules.diffractive_imaging_predict.output.predictions,
            variant=ablation_arms(
                section("diffractive_imaging", "evaluate").ablations, STUDY.variants
            ),
            seed=STUDY.seeds,
        ),
    output:
        metrics="<results>/diffractive_imaging/evaluate/metrics.csv",
        transfer="<results>/diffractive_imaging/evaluate/transfer.csv",
        images="<results>/diffractive_imaging/evaluate/images.npz",
        provenance="<results>/diffractive_imaging/evaluate/provenance.json",
    log:
        "<results>/logs/diffractive_imaging/evaluate.log",
    benchmark:
        "<results>/benchmarks/diffractive_imaging/evaluate.tsv"
    conda:
        "../envs/study.yaml"
    threads: 2
    resources:
        mem_mb=memory("diffractive_imaging", "test", 3),
        runtime=30,
        gpu=0,
    params:
        settings=settings("diffractive_imaging", "evaluate"),
        files=lambda wildcards, input: flags(ablated=input.ablated),
    shell:
        "python -m workflow_scripts.diffractive_imaging.evaluate {params.settings:q}"
        " --test {input.test:q} --predictions {input.predictions:q} {params.files:q}"
        " --metrics {output.metrics:q} --transfer {output.transfer:q} --images {output.images:q}"
        " --provenance {output.provenance:q} 2> {log:q}"


rule diffractive_imaging_plot:
    input:
        code=code("diffractive_imaging", "plot"),
        metrics=rules.diffractive_imaging_evaluate.output.metrics,
        transfer=rules.diffractive_imaging_evaluate.output.transfer,
        images=rules.diffractive_imaging_evaluate.output.images,
    output:
        svg=report(
            "<results>/figures/diffractive_imaging.svg",
            caption="../docs/report/diffractive_imaging.rst",
            category="2 Results",
            labels={"figure": "diffractive_imaging: phase from diffraction patterns"},
        ),
        pdf="<results>/figures/diffractive_imaging.pdf",
        png="<results>/figures/diffractive_imaging.png",
        csv="<results>/figures/diffractive_imaging.csv",
        scans_svg=report(
            "<results>/figures/diffractive_imaging_scans.svg",
            caption="../docs/report/diffractive_imaging_scans.rst",
            category="2 Results",
            labels={"figure": "diffractive_imaging: scans, doses and faults"},
        ),
        scans_pdf="<results>/figures/diffractive_imaging_scans.pdf",
        scans_png="<results>/figures/diffractive_imaging_scans.png",
        scans_csv="<results>/figures/diffractive_imaging_scans.csv",
        provenance="<results>/figures/diffractive_imaging.provenance.json",
    log:
        "<results>/logs/diffractive_imaging/plot.log",
    benchmark:
        "<results>/benchmarks/diffractive_imaging/plot.tsv"
    localrule: True
    conda:
        "../envs/study.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
        gpu=0,
    params:
        settings=settings("diffractive_imaging", "plot"),
    shell:
        "python -m workflow_scripts.diffractive_imaging.plot {params.settings:q}"
        " --metrics {input.metrics:q} --transfer {input.transfer:q} --images {input.images:q}"
        " --svg {output.svg:q} --pdf {output.pdf:q} --png {output.png:q} --csv {output.csv:q}"
        " --scans-svg {output.scans_svg:q} --scans-pdf {output.scans_pdf:q}"
        " --scans-png {output.scans_png:q} --scans-csv {output.scans_csv:q}"
        " --provenance {output.provenance:q} 2> {log:q}"


rule diffractive_imaging:
    input:
        rules.diffractive_imaging_evaluate.output,
        rules.diffractive_imaging_plot.output,


rule diffractive_imaging_figures:
    input:
        rules.diffractive_imaging_plot.output,


include: "diffractive_imaging_apply.smk"
