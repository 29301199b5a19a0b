# Nanodiffraction patterns to orientations: patterns → contrastive pretraining → pairs → best answers → figure.
from workflow_scripts.matching.settings import is_file as matching_is_file
from workflow_scripts.matching.variants import (
    ARMS as MATCHING_ARMS,
    ablation_arms as matching_ablation_arms,
    pretrained_as as matching_pretrained_as,
)


rule matching_synthesize:
    input:
        code=code("matching", "synthesize"),
        sources=[
            path
            for path in [section("matching", "synthesize").crystal]
            if matching_is_file(path)
        ],
    output:
        file="<results>/matching/synthesize/{split}/shard{shard}.npz",
        provenance="<results>/matching/synthesize/{split}/shard{shard}.provenance.json",
    log:
        "<results>/logs/matching/synthesize_{split}_{shard}.log",
    benchmark:
        "<results>/benchmarks/matching/synthesize_{split}_{shard}.tsv"
    wildcard_constraints:
        split="train|test",
    conda:
        "../envs/study.yaml"
    threads: 1
    resources:
        mem_mb=memory("matching", None, 3),
        runtime=minutes(60),
        gpu=STUDY.compute.gpus,
    params:
        settings=settings("matching", "synthesize"),
        files=lambda wildcards, input: flags(sources=input.sources),
    shell:
        "python -m workflow_scripts.matching.synthesize"
        " --split {wildcards.split} --shard {wildcards.shard} {params.settings:q} {params.files:q}"
        " --gpus {resources.gpu} --file {output.file:q} --provenance {output.provenance:q} 2> {log:q}"


rule matching_pretrain:
    input:
        code=code("matching", "pretrain"),
        shards=expand(
            "<results>/matching/synthesize/train/shard{shard}.npz",
            shard=range(section("matching", "synthesize").train_shards),
        ),
        test=lambda wildcards: (
            ["<results>/matching/synthesize/test/shard0.npz"]
            if MATCHING_ARMS[wildcards.variant].pretraining_sees_test
            else []
        ),
    output:
        weights="<results>/matching/pretrain/{variant}/seed{seed}/weights.safetensors",
        history="<results>/matching/pretrain/{variant}/seed{seed}/history.csv",
        provenance="<results>/matching/pretrain/{variant}/seed{seed}/provenance.json",
    log:
        "<results>/logs/matching/pretrain_{variant}_seed{seed}.log",
    benchmark:
        "<results>/benchmarks/matching/pretrain_{variant}_seed{seed}.tsv"
    wildcard_constraints:
        variant="|".join(MATCHING_ARMS),
    conda:
        "../envs/study.yaml"
    threads: STUDY.compute.threads
    resources:
        # The training patterns stay in their files; the recipe reads the test patterns.
        mem_mb=memory("matching", "test", 2),
        runtime=minutes(720),
        gpu=STUDY.compute.gpus,
    params:
        settings=settings("matching", "pretrain"),
        precision=STUDY.compute.precision,
        background_share=section("matching", "synthesize").background_share,
        files=lambda wildcards, input: flags(test=input.test),
    shell:
        "python -m workflow_scripts.matching.pretrain"
        " --variant {wildcards.variant} --seed {wildcards.seed} {params.settings:q}"
        " --background-share {params.background_share}"
        " --gpus {resources.gpu} --precision {params.precision} --shards {input.shards:q} {params.files:q}"
        " --weights {output.weights:q} --history {output.history:q} --provenance {output.provenance:q} 2> {log:q}"


rule matching_finetune:
    input:
        code=code("matching", "finetune"),
        weights=lambda wildcards: expand(
            rules.matching_pretrain.output.weights,
            variant=matching_pretrained_as(wildcards.variant),
            seed=wildcards.seed,
        ),
        shards=rules.matching_pretrain.input.shards,
    output:
        weights="<results>/matching/finetune/{variant}/seed{seed}/weights.safetensors",
        history="<results>/matching/finetune/{variant}/seed{seed}/history.csv",
        provenance="<results>/matching/finetune/{variant}/seed{seed}/provenance.json",
    log:
        "<results>/logs/matching/finetune_{variant}_seed{seed}.log",
    benchmark:
        "<results>/benchmarks/matching/finetune_{variant}_seed{seed}.tsv"
    wildcard_constraints:
        variant="|".join(MATCHING_ARMS),
    conda:
        "../envs/study.yaml"
    threads: STUDY.compute.threads
    resources:
        mem_mb=memory("matching", "train", 0),
        runtime=minutes(240),
        gpu=STUDY.compute.gpus,
    params:
        settings=settings("matching", "finetune"),
        precision=STUDY.compute.precision,
    shell:
        "python -m workflow_scripts.matching.finetune"
        " --variant {wildcards.variant} --seed {wildcards.seed} {params.settings:q}"
        " --gpus {resources.gpu} --precision {params.precision}"
        " --pretrained {input.weights:q} --shards {input.shards:q}"
        " --weights {output.weights:q} --history {output.history:q} --provenance {output.provenance:q} 2> {log:q}"


rule matching_predict:
    input:
        code=code("matching", "predict"),
        pretrained=lambda wildcards: expand(
            rules.matching_pretrain.output.weights,
            variant=matching_pretrained_as(wildcards.variant),
            seed=wildcards.seed,
        ),
        finetuned=rules.matching_finetune.output.weights,
        test="<results>/matching/synthesize/test/shard0.npz",
    output:
        predictions="<results>/matching/predict/{variant}/seed{seed}/predictions.npz",
        provenance="<results>/matching/predict/{variant}/seed{seed}/provenance.json",
    log:
        "<results>/logs/matching/predict_{variant}_seed{seed}.log",
    benchmark:
        "<results>/benchmarks/matching/predict_{variant}_seed{seed}.tsv"
    wildcard_constraints:
        variant="|".join(MATCHING_ARMS),
    conda:
        "../envs/study.yaml"
    threads: STUDY.compute.threads
    resources:
        mem_mb=memory("matching", "test", 5, section("matching", "synthesize").gallery),
        runtime=minutes(60),
        gpu=STUDY.compute.gpus,
    params:
        settings=settings("matching", "predict"),
        network=as_arguments(section("matching", "pretrain").network, "network."),
        precision=STUDY.compute.precision,
    shell:
        "python -m workflow_scripts.matching.predict"
        " --estimator {wildcards.variant} --training-seed {wildcards.seed} {params.settings:q} {params.network:q}"
        " --gpus {resources.gpu} --precision {params.precision}"
        " --pretrained {input.pretrained:q} --finetuned {input.finetuned:q} --test {input.test:q}"
        " --predictions {output.predictions:q} --provenance {output.provenance:q} 2> {log:q}"


rule matching_predict_baseline:
    input:
        code=code("matching", "predict"),
        shards=rules.matching_pretrain.input.shards,
        test="<results>/matching/synthesize/test/shard0.npz",
    output:
        predictions="<results>/matching/predict/{baseline}/seed0/predictions.npz",
        provenance="<results>/matching/predict/{baseline}/seed0/provenance.json",
    log:
        "<results>/logs/matching/predict_{baseline}.log",
    benchmark:
        "<results>/benchmarks/matching/predict_{baseline}.tsv"
    wildcard_constraints:
        baseline="chance|ncc|polar_template|untrained",
    conda:
        "../envs/study.yaml"
    threads: STUDY.compute.threads
    resources:
        # Every template of the cross-correlation lies turned in memory, while they are made twice.
        mem_mb=memory("matching", "test", 2, section("matching", "synthesize").gallery),
        runtime=minutes(60),
        gpu=STUDY.compute.gpus,
    params:
        settings=settings("matching", "predict"),
        network=as_arguments(section("matching", "pretrain").network, "network."),
        precision=STUDY.compute.precision,
    shell:
        "python -m workflow_scripts.matching.predict"
        " --estimator {wildcards.baseline} --training-seed 0 {params.settings:q} {params.network:q}"
        " --gpus {resources.gpu} --precision {params.precision}"
        " --shards {input.shards:q} --test {input.test:q}"
        " --predictions {output.predictions:q} --provenance {output.provenance:q} 2> {log:q}"


rule matching_evaluate:
    input:
        code=code("matching", "evaluate"),
        test="<results>/matching/synthesize/test/shard0.npz",
        predictions=[
            *expand(
                rules.matching_predict_baseline.output.predictions,
                baseline=section("matching", "evaluate").baselines,
            ),
            *expand(
                rules.matching_predict.output.predictions,
                variant=STUDY.variants,
                seed=STUDY.seeds,
            ),
        ],
        ablated=expand(
            rules.matching_predict.output.predictions,
            variant=matching_ablation_arms(
                section("matching", "evaluate").ablations, STUDY.variants
            ),
            seed=STUDY.seeds,
        ),
    output:
        metrics="<results>/matching/evaluate/metrics.csv",
        examples="<results>/matching/evaluate/examples.npz",
        provenance="<results>/matching/evaluate/provenance.json",
    log:
        "<results>/logs/matching/evaluate.log",
    benchmark:
        "<results>/benchmarks/matching/evaluate.tsv"
    conda:
        "../envs/study.yaml"
    threads: 2
    resources:
        mem_mb=memory("matching", "test", 3),
        runtime=minutes(60),
        gpu=0,
    params:
        settings=settings("matching", "evaluate"),
        pixel_size=section("matching", "synthesize").diffraction.pixel_size_per_a,
        cells=section("matching", "synthesize").cells,
        files=lambda wildcards, input: flags(ablated=input.ablated),
    shell:
        "python -m workflow_scripts.matching.evaluate {params.settings:q}"
        " --pixel-size-per-a {params.pixel_size} --cells {params.cells} --test {input.test:q}"
        " --predictions {input.predictions:q} {params.files:q}"
        " --metrics {output.metrics:q} --examples {output.examples:q} --provenance {output.provenance:q} 2> {log:q}"


rule matching_plot:
    input:
        code=code("matching", "plot"),
        metrics=rules.matching_evaluate.output.metrics,
        examples=rules.matching_evaluate.output.examples,
    output:
        svg=report(
            "<results>/figures/matching.svg",
            caption="../docs/report/matching.rst",
            category="2 Results",
            labels={"figure": "matching: from diffraction patterns to orientations"},
        ),
        pdf="<results>/figures/matching.pdf",
        png="<results>/figures/matching.png",
        csv="<results>/figures/matching.csv",
        provenance="<results>/figures/matching.provenance.json",
    log:
        "<results>/logs/matching/plot.log",
    benchmark:
        "<results>/benchmarks/matching/plot.tsv"
    localrule: True
    conda:
        "../envs/study.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
        gpu=0,
    params:
        settings=settings("matching", "plot"),
    shell:
        "python -m workflow_scripts.matching.plot {params.settings:q}"
        " --metrics {input.metrics:q} --examples {input.examples:q}"
        " --svg {output.svg:q} --pdf {output.pdf:q} --png {output.png:q} --csv {output.csv:q}"
        " --provenance {output.provenance:q} 2> {log:q}"


rule matching:
    input:
        rules.matching_evaluate.output,
        rules.matching_plot.output,


rule matching_figures:
    input:
        rules.matching_plot.output,


include: "matching_apply.smk"
