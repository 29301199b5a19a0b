# The user's own tiles: report on the files → network adapted to the microscope → corrected tiles → mosaic.

try:
    for name, entry in STUDY.apply.background.items():
        entry.inputs(f"apply.background.{name}.")
except InputError as error:
    raise WorkflowError(str(error)) from None


rule background_apply_prepare:
    input:
        code=code("background", "prepare"),
        own=lambda wildcards: sum(
            own_data("background", wildcards.name).inputs().values(), []
        ),
    output:
        report="<results>/background/apply/{name}/prepare/report.json",
        provenance="<results>/background/apply/{name}/prepare/provenance.json",
    log:
        "<results>/logs/background/apply_{name}_prepare.log",
    benchmark:
        "<results>/benchmarks/background/apply_{name}_prepare.tsv"
    priority: 10  # a mistake in the images shows before a network is trained
    conda:
        "../envs/study.yaml"
    threads: STUDY.compute.threads
    resources:
        mem_mb=8000,
        runtime=60,
        gpu=0,
    params:
        settings=lambda wildcards: as_arguments(own_data("background", wildcards.name)),
        files=lambda wildcards: flags(**own_data("background", wildcards.name).inputs()),
    shell:
        "python -m workflow_scripts.background.prepare {params.settings:q} {params.files:q}"
        " --report {output.report:q} --provenance {output.provenance:q} 2> {log:q}"


rule background_apply_adapt:
    input:
        code=code("background", "adapt"),
        own=lambda wildcards: sum(
            own_data("background", wildcards.name).inputs().values(), []
        ),
        report=rules.background_apply_prepare.output.report,
        shards=rules.background_pretrain.input.shards,
        pretrained=expand(
            "<results>/background/pretrain/corrected/seed{seed}/weights.safetensors",
            seed=STUDY.seeds[0],
        ),
    output:
        weights="<results>/background/apply/{name}/adapt/weights.safetensors",
        history="<results>/background/apply/{name}/adapt/history.csv",
        provenance="<results>/background/apply/{name}/adapt/provenance.json",
    log:
        "<results>/logs/background/apply_{name}_adapt.log",
    benchmark:
        "<results>/benchmarks/background/apply_{name}_adapt.tsv"
    conda:
        "../envs/study.yaml"
    threads: STUDY.compute.threads
    resources:
        mem_mb=16000,
        runtime=240,
        gpu=STUDY.compute.gpus,
    params:
        entry=lambda wildcards: as_arguments(
            own_data("background", wildcards.name), "entry."
        ),
        training=as_arguments(section("background", "finetune"), "training."),
        precision=STUDY.compute.precision,
        seed=STUDY.seeds[0],
        files=lambda wildcards: flags(**own_data("background", wildcards.name).inputs()),
    shell:
        "python -m workflow_scripts.background.adapt {params.entry:q} {params.training:q}"
        " --seed {params.seed} --gpus {resources.gpu} --precision {params.precision} {params.files:q}"
        " --report {input.report:q} --pretrained {input.pretrained:q} --shards {input.shards:q}"
        " --weights {output.weights:q} --history {output.history:q} --provenance {output.provenance:q} 2> {log:q}"


rule background_apply_tiles:
    input:
        code=code("background", "apply"),
        own=lambda wildcards: sum(
            own_data("background", wildcards.name).inputs().values(), []
        ),
        report=rules.background_apply_prepare.output.report,
        weights=rules.background_apply_adapt.output.weights,
    output:
        corrected="<results>/background/apply/{name}/corrected.tif",
        background="<results>/background/apply/{name}/background.tif",
        uncertainty="<results>/background/apply/{name}/uncertainty.tif",
        png="<results>/background/apply/{name}/preview.png",
        quality="<results>/background/apply/{name}/quality.json",
        provenance="<results>/background/apply/{name}/provenance.json",
    log:
        "<results>/logs/background/apply_{name}_tiles.log",
    benchmark:
        "<results>/benchmarks/background/apply_{name}_tiles.tsv"
    conda:
        "../envs/study.yaml"
    threads: STUDY.compute.threads
    resources:
        mem_mb=16000,
        runtime=1440,
        gpu=STUDY.compute.gpus,
    params:
        entry=lambda wildcards: as_arguments(
            own_data("background", wildcards.name), "entry."
        ),
        batch_size=section("background", "predict").batch_size,
        steps=section("background", "predict").steps,
        samples=section("background", "predict").samples,
        seed=section("background", "predict").seed,
        precision=STUDY.compute.precision,
        files=lambda wildcards: flags(**own_data("background", wildcards.name).inputs()),
    shell:
        "python -m workflow_scripts.background.apply --name {wildcards.name} {params.entry:q}"
        " --batch-size {params.batch_size} --steps {params.steps} --samples {params.samples} --seed {params.seed}"
        " --gpus {resources.gpu} --precision {params.precision} {params.files:q}"
        " --report {input.report:q} --weights {input.weights:q}"
        " --corrected {output.corrected:q} --background {output.background:q} --uncertainty {output.uncertainty:q}"
        " --png {output.png:q} --quality {output.quality:q} --provenance {output.provenance:q} 2> {log:q}"


rule background_apply_mosaic:
    input:
        code=code("background", "assemble"),
        own=lambda wildcards: sum(
            own_data("background", wildcards.name).inputs().values(), []
        ),
        corrected=rules.background_apply_tiles.output.corrected,
        quality=rules.background_apply_tiles.output.quality,
    output:
        mosaic="<results>/background/apply/{name}/mosaic.tif",
        png="<results>/background/apply/{name}/mosaic.png",
        provenance="<results>/background/apply/{name}/mosaic.provenance.json",
    log:
        "<results>/logs/background/apply_{name}_mosaic.log",
    benchmark:
        "<results>/benchmarks/background/apply_{name}_mosaic.tsv"
    conda:
        "../envs/study.yaml"
    threads: STUDY.compute.threads
    resources:
        mem_mb=16000,
        runtime=60,
        gpu=0,
    params:
        settings=lambda wildcards: as_arguments(own_data("background", wildcards.name)),
        files=lambda wildcards: flags(**own_data("background", wildcards.name).inputs()),
    shell:
        "python -m workflow_scripts.background.assemble {params.settings:q} {params.files:q}"
        " --corrected {input.corrected:q} --quality {input.quality:q}"
        " --mosaic {output.mosaic:q} --png {output.png:q} --provenance {output.provenance:q} 2> {log:q}"


rule background_apply:
    input:
        [
            f"<results>/background/apply/{name}/{file}"
            for name, entry in STUDY.apply.background.items()
            for file in ("corrected.tif", *(("mosaic.tif",) if entry.placed else ()))
        ],
