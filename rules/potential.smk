# Four-segment STEM images to the projected potential: crystals → multislice → network → potential → figures.
from workflow_scripts.potential.settings import is_file as potential_is_file
from workflow_scripts.potential.variants import (
    ABLATIONS as POTENTIAL_ABLATIONS,
    ARMS as POTENTIAL_ARMS,
    PLAIN_UNET,
    ablation_arms as potential_ablation_arms,
)


rule potential_synthesize:
    input:
        code=code("potential", "synthesize"),
        structures=[
            path
            for path in section("potential", "synthesize").materials
            if potential_is_file(path)
        ],
    output:
        arrays="<results>/potential/synthesize/{split}/shard{shard}.npz",
        provenance="<results>/potential/synthesize/{split}/shard{shard}.provenance.json",
    log:
        "<results>/logs/potential/synthesize_{split}_{shard}.log",
    benchmark:
        "<results>/benchmarks/potential/synthesize_{split}_{shard}.tsv"
    wildcard_constraints:
        split="train|test",
    conda:
        "../envs/study.yaml"
    threads: 1
    resources:
        mem_mb=memory(
            "potential",
            None,
            3,
            section("potential", "synthesize").multislice.memory_mib,
        ),
        runtime=minutes(240),
        gpu=STUDY.compute.gpus,
    params:
        settings=settings("potential", "synthesize"),
        files=lambda wildcards, input: flags(structures=input.structures),
    shell:
        "python -m workflow_scripts.potential.synthesize"
        " --split {wildcards.split} --shard {wildcards.shard} {params.settings:q} {params.files:q}"
        " --gpus {resources.gpu} --arrays {output.arrays:q} --provenance {output.provenance:q} 2> {log:q}"


rule potential_pretrain:
    input:
        code=code("potential", "pretrain"),
        shards=expand(
            "<results>/potential/synthesize/train/shard{shard}.npz",
            shard=range(section("potential", "synthesize").train_shards),
        ),
    output:
        weights="<results>/potential/pretrain/{variant}/seed{seed}/weights.safetensors",
        history="<results>/potential/pretrain/{variant}/seed{seed}/history.csv",
        provenance="<results>/potential/pretrain/{variant}/seed{seed}/provenance.json",
    log:
        "<results>/logs/potential/pretrain_{variant}_seed{seed}.log",
    benchmark:
        "<results>/benchmarks/potential/pretrain_{variant}_seed{seed}.tsv"
    wildcard_constraints:
        variant="|".join(POTENTIAL_ARMS),
    conda:
        "../envs/study.yaml"
    threads: STUDY.compute.threads
    resources:
        # Those that are trained on, a half, and a copy for the device.
        mem_mb=memory("potential", "train", 1.5),
        runtime=minutes(720),
        gpu=STUDY.compute.gpus,
    params:
        settings=settings("potential", "pretrain"),
        held_out=section("potential", "synthesize").held_out_material,
        precision=STUDY.compute.precision,
    shell:
        "python -m workflow_scripts.potential.pretrain"
        " --variant {wildcards.variant} --seed {wildcards.seed} {params.settings:q}"
        " --held-out-material {params.held_out:q}"
        " --gpus {resources.gpu} --precision {params.precision} --shards {input.shards:q}"
        " --weights {output.weights:q} --history {output.history:q} --provenance {output.provenance:q} 2> {log:q}"


rule potential_finetune:
    input:
        code=code("potential", "finetune"),
        weights=rules.potential_pretrain.output.weights,
        shards=rules.potential_pretrain.input.shards,
    output:
        weights="<results>/potential/finetune/{variant}/seed{seed}/weights.safetensors",
        history="<results>/potential/finetune/{variant}/seed{seed}/history.csv",
        provenance="<results>/potential/finetune/{variant}/seed{seed}/provenance.json",
    log:
        "<results>/logs/potential/finetune_{variant}_seed{seed}.log",
    benchmark:
        "<results>/benchmarks/potential/finetune_{variant}_seed{seed}.tsv"
    wildcard_constraints:
        variant=f"published|corrected|{PLAIN_UNET}",
    conda:
        "../envs/study.yaml"
    threads: STUDY.compute.threads
    resources:
        mem_mb=memory("potential", "train", 0),
        runtime=minutes(240),
        gpu=STUDY.compute.gpus,
    params:
        settings=settings("potential", "finetune"),
        held_out=section("potential", "synthesize").held_out_material,
        precision=STUDY.compute.precision,
    shell:
        "python -m workflow_scripts.potential.finetune"
        " --variant {wildcards.variant} --seed {wildcards.seed} {params.settings:q}"
        " --held-out-material {params.held_out:q}"
        " --gpus {resources.gpu} --precision {params.precision}"
        " --pretrained {input.weights:q} --shards {input.shards:q}"
        " --weights {output.weights:q} --history {output.history:q} --provenance {output.provenance:q} 2> {log:q}"


rule potential_predict:
    input:
        code=code("potential", "predict"),
        pretrained=rules.potential_pretrain.output.weights,
        finetuned=lambda wildcards: (
            []
            if wildcards.variant in POTENTIAL_ABLATIONS
            else expand(
                rules.potential_finetune.output.weights,
                variant=wildcards.variant,
                seed=wildcards.seed,
            )
        ),
        test="<results>/potential/synthesize/test/shard0.npz",
    output:
        predictions="<results>/potential/predict/{variant}/seed{seed}/predictions.npz",
        provenance="<results>/potential/predict/{variant}/seed{seed}/provenance.json",
    log:
        "<results>/logs/potential/predict_{variant}_seed{seed}.log",
    benchmark:
        "<results>/benchmarks/potential/predict_{variant}_seed{seed}.tsv"
    wildcard_constraints:
        variant="|".join(POTENTIAL_ARMS),
    conda:
        "../envs/study.yaml"
    threads: STUDY.compute.threads
    resources:
        mem_mb=memory("potential", "test", 4),
        runtime=minutes(60),
        gpu=STUDY.compute.gpus,
    params:
        settings=settings("potential", "predict"),
        held_out=section("potential", "synthesize").held_out_material,
        precision=STUDY.compute.precision,
        files=lambda wildcards, input: flags(finetuned=input.finetuned),
    shell:
        "python -m workflow_scripts.potential.predict"
        " --estimator {wildcards.variant} --training-seed {wildcards.seed} {params.settings:q}"
        " --held-out-material {params.held_out:q} --gpus {resources.gpu} --precision {params.precision}"
        " --pretrained {input.pretrained:q} {params.files:q} --test {input.test:q}"
        " --predictions {output.predictions:q} --provenance {output.provenance:q} 2> {log:q}"


rule potential_predict_baseline:
    input:
        code=code("potential", "predict"),
        shards=rules.potential_pretrain.input.shards,
        test="<results>/potential/synthesize/test/shard0.npz",
    output:
        predictions="<results>/potential/predict/{baseline}/seed0/predictions.npz",
        provenance="<results>/potential/predict/{baseline}/seed0/provenance.json",
    log:
        "<results>/logs/potential/predict_{baseline}.log",
    benchmark:
        "<results>/benchmarks/potential/predict_{baseline}.tsv"
    wildcard_constraints:
        baseline="icom|metadata_mean|ridge",
    conda:
        "../envs/study.yaml"
    threads: STUDY.compute.threads
    resources:
        # The training files are read one by one.
        mem_mb=memory(
            "potential",
            "test",
            3,
            3 * section("potential", "synthesize").file_mb("train"),
        ),
        runtime=minutes(60),
        gpu=0,
    params:
        settings=settings("potential", "predict"),
        held_out=section("potential", "synthesize").held_out_material,
        precision=STUDY.compute.precision,
    shell:
        "python -m workflow_scripts.potential.predict"
        " --estimator {wildcards.baseline} --training-seed 0 {params.settings:q}"
        " --held-out-material {params.held_out:q} --gpus {resources.gpu} --precision {params.precision}"
        " --shards {input.shards:q} --test {input.test:q}"
        " --predictions {output.predictions:q} --provenance {output.provenance:q} 2> {log:q}"


rule potential_evaluate:
    input:
        code=code("potential", "evaluate"),
        test="<results>/potential/synthesize/test/shard0.npz",
        predictions=[
            *expand(
                rules.potential_predict_baseline.output.predictions,
                baseline=[
                    name
                    for name in section("potential", "evaluate").baselines
                    if name != PLAIN_UNET
                ],
            ),
            *expand(
                rules.potential_predict.output.predictions,
                variant=[
                    *STUDY.variants,
                    *(
                        name
                        for name in section("potential", "evaluate").baselines
                        if name == PLAIN_UNET
                    ),
                ],
                seed=STUDY.seeds,
            ),
        ],
        ablated=expand(
            rules.potential_predict.output.predictions,
            variant=potential_ablation_arms(
                section("potential", "evaluate").ablations, STUDY.variants
            ),
            seed=STUDY.seeds,
        ),
    output:
        metrics="<results>/potential/evaluate/metrics.csv",
        examples="<results>/potential/evaluate/examples.npz",
        cells="<results>/potential/evaluate/cells.csv",
        provenance="<results>/potential/evaluate/provenance.json",
    log:
        "<results>/logs/potential/evaluate.log",
    benchmark:
        "<results>/benchmarks/potential/evaluate.tsv"
    conda:
        "../envs/study.yaml"
    threads: 2
    resources:
        mem_mb=memory("potential", "test", 4),
        runtime=minutes(60),
        gpu=0,
    params:
        settings=settings("potential", "evaluate"),
        held_out=section("potential", "synthesize").held_out_material,
        files=lambda wildcards, input: flags(ablated=input.ablated),
    shell:
        "python -m workflow_scripts.potential.evaluate {params.settings:q} --held-out-material {params.held_out:q}"
        " --test {input.test:q} --predictions {input.predictions:q} {params.files:q}"
        " --metrics {output.metrics:q} --examples {output.examples:q} --cells {output.cells:q}"
        " --provenance {output.provenance:q} 2> {log:q}"


rule potential_plot:
    input:
        code=code("potential", "plot"),
        metrics=rules.potential_evaluate.output.metrics,
        examples=rules.potential_evaluate.output.examples,
        cells=rules.potential_evaluate.output.cells,
    output:
        svg=report(
            "<results>/figures/potential.svg",
            caption="../docs/report/potential.rst",
            category="2 Results",
            labels={"figure": "potential: from four segments to V Å"},
        ),
        pdf="<results>/figures/potential.pdf",
        png="<results>/figures/potential.png",
        csv="<results>/figures/potential.csv",
        scale_svg=report(
            "<results>/figures/potential_scale.svg",
            caption="../docs/report/potential_scale.rst",
            category="2 Results",
            labels={
                "figure": "potential: why 54 dB is 27 dB, and how wide a cell must be"
            },
        ),
        scale_pdf="<results>/figures/potential_scale.pdf",
        scale_png="<results>/figures/potential_scale.png",
        scale_csv="<results>/figures/potential_scale.csv",
        provenance="<results>/figures/potential.provenance.json",
    log:
        "<results>/logs/potential/plot.log",
    benchmark:
        "<results>/benchmarks/potential/plot.tsv"
    localrule: True
    conda:
        "../envs/study.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
        gpu=0,
    params:
        settings=settings("potential", "plot"),
    shell:
        "python -m workflow_scripts.potential.plot {params.settings:q}"
        " --metrics {input.metrics:q} --examples {input.examples:q} --cells {input.cells:q}"
        " --svg {output.svg:q} --pdf {output.pdf:q} --png {output.png:q} --csv {output.csv:q}"
        " --scale-svg {output.scale_svg:q} --scale-pdf {output.scale_pdf:q}"
        " --scale-png {output.scale_png:q} --scale-csv {output.scale_csv:q}"
        " --provenance {output.provenance:q} 2> {log:q}"


rule potential:
    input:
        rules.potential_evaluate.output,
        rules.potential_plot.output,


rule potential_figures:
    input:
        rules.potential_plot.output,


include: "potential_apply.smk"
