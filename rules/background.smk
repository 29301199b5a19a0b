# Raw X-ray tiles to their flat fields and optical density: sessions → tiles → network → background → figures.
from workflow_scripts.background.variants import (
    ARMS as BACKGROUND_ARMS,
    UNET as BACKGROUND_UNET,
)


rule background_synthesize:
    input:
        code=code("background", "synthesize"),
    output:
        file="<results>/background/synthesize/{split}/shard{shard}.npz",
        provenance="<results>/background/synthesize/{split}/shard{shard}.provenance.json",
    log:
        "<results>/logs/background/synthesize_{split}_{shard}.log",
    benchmark:
        "<results>/benchmarks/background/synthesize_{split}_{shard}.tsv"
    wildcard_constraints:
        split="train|test",
    conda:
        "../envs/study.yaml"
    threads: 1
    resources:
        mem_mb=memory("background", None, 4),
        runtime=minutes(120),
        gpu=STUDY.compute.gpus,
    params:
        settings=settings("background", "synthesize"),
    shell:
        "python -m workflow_scripts.background.synthesize"
        " --split {wildcards.split} --shard {wildcards.shard} {params.settings:q} --gpus {resources.gpu}"
        " --file {output.file:q} --provenance {output.provenance:q} 2> {log:q}"


rule background_pretrain:
    input:
        code=code("background", "pretrain"),
        shards=expand(
            "<results>/background/synthesize/train/shard{shard}.npz",
            shard=range(section("background", "synthesize").train_shards),
        ),
    output:
        weights="<results>/background/pretrain/{variant}/seed{seed}/weights.safetensors",
        history="<results>/background/pretrain/{variant}/seed{seed}/history.csv",
        provenance="<results>/background/pretrain/{variant}/seed{seed}/provenance.json",
    log:
        "<results>/logs/background/pretrain_{variant}_seed{seed}.log",
    benchmark:
        "<results>/benchmarks/background/pretrain_{variant}_seed{seed}.tsv"
    wildcard_constraints:
        variant="|".join(BACKGROUND_ARMS),
    conda:
        "../envs/study.yaml"
    threads: STUDY.compute.threads
    resources:
        mem_mb=memory("background", "train", 3),
        runtime=minutes(1440),
        gpu=STUDY.compute.gpus,
    params:
        settings=settings("background", "pretrain"),
        precision=STUDY.compute.precision,
    shell:
        "python -m workflow_scripts.background.pretrain"
        " --variant {wildcards.variant} --seed {wildcards.seed} {params.settings:q}"
        " --gpus {resources.gpu} --precision {params.precision} --shards {input.shards:q}"
        " --weights {output.weights:q} --history {output.history:q} --provenance {output.provenance:q} 2> {log:q}"


rule background_finetune:
    input:
        code=code("background", "finetune"),
        pretrained=rules.background_pretrain.output.weights,
        shards=rules.background_pretrain.input.shards,
    output:
        weights="<results>/background/finetune/{variant}/seed{seed}/weights.safetensors",
        history="<results>/background/finetune/{variant}/seed{seed}/history.csv",
        provenance="<results>/background/finetune/{variant}/seed{seed}/provenance.json",
    log:
        "<results>/logs/background/finetune_{variant}_seed{seed}.log",
    benchmark:
        "<results>/benchmarks/background/finetune_{variant}_seed{seed}.tsv"
    wildcard_constraints:
        variant="|".join(BACKGROUND_ARMS),
    conda:
        "../envs/study.yaml"
    threads: STUDY.compute.threads
    resources:
        mem_mb=memory("background", "train", 3),
        runtime=minutes(240),
        gpu=STUDY.compute.gpus,
    params:
        settings=settings("background", "finetune"),
        precision=STUDY.compute.precision,
    shell:
        "python -m workflow_scripts.background.finetune"
        " --variant {wildcards.variant} --seed {wildcards.seed} {params.settings:q}"
        " --gpus {resources.gpu} --precision {params.precision}"
        " --pretrained {input.pretrained:q} --shards {input.shards:q}"
        " --weights {output.weights:q} --history {output.history:q} --provenance {output.provenance:q} 2> {log:q}"


rule background_predict:
    input:
        code=code("background", "predict"),
        pretrained=rules.background_pretrain.output.weights,
        finetuned=rules.background_finetune.output.weights,
        test="<results>/background/synthesize/test/shard0.npz",
    output:
        predictions="<results>/background/predict/{variant}/seed{seed}/predictions.npz",
        provenance="<results>/background/predict/{variant}/seed{seed}/provenance.json",
    log:
        "<results>/logs/background/predict_{variant}_seed{seed}.log",
    benchmark:
        "<results>/benchmarks/background/predict_{variant}_seed{seed}.tsv"
    wildcard_constraints:
        variant="|".join(BACKGROUND_ARMS),
    conda:
        "../envs/study.yaml"
    threads: STUDY.compute.threads
    resources:
        mem_mb=memory("background", "test", 4),
        runtime=minutes(240),
        gpu=STUDY.compute.gpus,
    params:
        settings=settings("background", "predict"),
        precision=STUDY.compute.precision,
    shell:
        "python -m workflow_scripts.background.predict"
        " --estimator {wildcards.variant} --training-seed {wildcards.seed} {params.settings:q}"
        " --gpus {resources.gpu} --precision {params.precision}"
        " --pretrained {input.pretrained:q} --finetuned {input.finetuned:q} --test {input.test:q}"
        " --predictions {output.predictions:q} --provenance {output.provenance:q} 2> {log:q}"


rule background_predict_baseline:
    input:
        code=code("background", "predict"),
        test="<results>/background/synthesize/test/shard0.npz",
    output:
        predictions="<results>/background/predict/{baseline}/seed0/predictions.npz",
        provenance="<results>/background/predict/{baseline}/seed0/provenance.json",
    log:
        "<results>/logs/background/predict_{baseline}.log",
    benchmark:
        "<results>/benchmarks/background/predict_{baseline}.tsv"
    wildcard_constraints:
        baseline=r"gaussian|maximum_2|median_\d+|eigen_flats",
    conda:
        "../envs/study.yaml"
    threads: STUDY.compute.threads
    resources:
        mem_mb=memory("background", "test", 4),
        runtime=minutes(60),
        gpu=0,
    params:
        settings=settings("background", "predict"),
        precision=STUDY.compute.precision,
    shell:
        "python -m workflow_scripts.background.predict"
        " --estimator {wildcards.baseline} --training-seed 0 {params.settings:q}"
        " --gpus {resources.gpu} --precision {params.precision} --test {input.test:q}"
        " --predictions {output.predictions:q} --provenance {output.provenance:q} 2> {log:q}"


rule background_evaluate:
    input:
        code=code("background", "evaluate"),
        test="<results>/background/synthesize/test/shard0.npz",
        predictions=[
            *expand(
                rules.background_predict_baseline.output.predictions,
                baseline=[
                    name
                    for name in section("background", "evaluate").baselines
                    if name != BACKGROUND_UNET
                ],
            ),
            *expand(
                rules.background_predict.output.predictions,
                variant=[
                    *STUDY.variants,
                    *(
                        name
                        for name in section("background", "evaluate").baselines
                        if name == BACKGROUND_UNET
                    ),
                ],
                seed=STUDY.seeds,
            ),
        ],
    output:
        metrics="<results>/background/evaluate/metrics.csv",
        examples="<results>/background/evaluate/examples.npz",
        provenance="<results>/background/evaluate/provenance.json",
    log:
        "<results>/logs/background/evaluate.log",
    benchmark:
        "<results>/benchmarks/background/evaluate.tsv"
    conda:
        "../envs/study.yaml"
    threads: 1
    resources:
        mem_mb=memory("background", "test", 8),
        runtime=minutes(60),
        gpu=0,
    params:
        settings=settings("background", "evaluate"),
    shell:
        "python -m workflow_scripts.background.evaluate {params.settings:q}"
        " --test {input.test:q} --predictions {input.predictions:q}"
        " --metrics {output.metrics:q} --examples {output.examples:q}"
        " --provenance {output.provenance:q} 2> {log:q}"


rule background_plot:
    input:
        code=code("background", "plot"),
        metrics=rules.background_evaluate.output.metrics,
        examples=rules.background_evaluate.output.examples,
    output:
        svg=report(
            "<results>/figures/background.svg",
            caption="../docs/report/background.rst",
            category="2 Results",
            labels={"figure": "background: tiles without their flat field"},
        ),
        pdf="<results>/figures/background.pdf",
        png="<results>/figures/background.png",
        csv="<results>/figures/background.csv",
        provenance="<results>/figures/background.provenance.json",
    log:
        "<results>/logs/background/plot.log",
    benchmark:
        "<results>/benchmarks/background/plot.tsv"
    localrule: True
    conda:
        "../envs/study.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
        gpu=0,
    params:
        settings=settings("background", "plot"),
    shell:
        "python -m workflow_scripts.background.plot {params.settings:q}"
        " --metrics {input.metrics:q} --examples {input.examples:q}"
        " --svg {output.svg:q} --pdf {output.pdf:q} --png {output.png:q} --csv {output.csv:q}"
        " --provenance {output.provenance:q} 2> {log:q}"


rule background:
    input:
        rules.background_evaluate.output,
        rules.background_plot.output,


rule background_figures:
    input:
        rules.background_plot.output,


include: "background_apply.smk"
