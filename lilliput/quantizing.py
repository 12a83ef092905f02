"""Quantization of a bundle, with training under the rounding before it where that is asked for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from transformers import AutoConfig

import lilliput.architectures  # noqa: F401  registers what pruned models may be
from lilliput import tasks
from lilliput.bundle import Bundle
from lilliput.compress.distillation import distill_stage
from lilliput.compress.quantization import quantize_bundle
from lilliput.config import DataConfig, DistillConfig, ExportConfig, QuantizeConfig
from lilliput.errors import ConfigError
from lilliput.reporter import Reporter
from lilliput.runs import Run
from lilliput.steps import export_model
from lilliput.train import sources


def quantize(config: QuantizeConfig, reporter: Reporter | None = None) -> dict[str, Any]:
    """Write ``config.out``: the bundle ``config.model`` with a graph in ``config.precision`` that passes its gates.

    With ``config.train`` its model is trained under the rounding first, in ``OUT.training``, which a later call goes on
    with; gates compare with the fp32 graph that it had before.

    Returns, and errors: as of :func:`lilliput.compress.quantization.quantize_bundle`.
    """
    reporter = reporter or Reporter()
    if not config.train:
        return quantize_bundle(config, reporter)
    source = Bundle.open(config.model)
    manifest = source.manifest
    if manifest.task not in tasks.names() or tasks.get(manifest.task).command != "finetune":
        raise ConfigError(f"--train: {config.model} is a bundle for {manifest.task}, which has no labels to train with")
    common = {**{name: getattr(config, name) for name in DataConfig.model_fields}, "task": manifest.task}
    dataset = sources.load(DataConfig(**common))
    with Run(config.out.with_name(f"{config.out.name}.training"), "quantize") as run:
        student = distill_stage(
            run, "student", _under_rounding(config, common, source, run), dataset, reporter.progress
        )
        settings = ExportConfig(
            **common,
            model=str(student.folder),
            name=config.out.name,
            precisions=("fp32",),
            max_length=manifest.max_length,
            gate_texts=config.gate_texts,
            out=run.folder / "bundle",
        )
        trained = {"precision": config.precision, "epochs": config.train, "learning_rate": config.learning_rate}
        recipe = {**manifest.recipe, "rounding": trained}
        export_model(settings, dataset, manifest.provenance, recipe, reporter.progress)
    return quantize_bundle(config.model_copy(update={"model": str(settings.out)}), reporter, source)


def _under_rounding(config: QuantizeConfig, common: Mapping[str, Any], source: Bundle, run: Run) -> DistillConfig:
    """The distillation of a bundle's model into itself, under the rounding of a precision."""
    architecture = AutoConfig.from_pretrained(source.path)
    if not (layers := getattr(architecture, "num_hidden_layers", 0)):
        raise ConfigError(
            f"--train: {config.model} is of the kind {architecture.model_type}; only transformers are trained"
        )
    return DistillConfig(
        **common,
        teacher=(str(source.path),),
        initial_model=str(source.path),
        student=f"layers={layers}",
        reconstruct=False,
        rounding=config.precision,
        target_cpu=config.target_cpu,
        block_size=config.block_size,
        train_embeddings=config.precision == "int4",
        epochs=config.train,
        learning_rate=config.learning_rate,
        max_length=source.manifest.max_length,
        device=config.device,
        out=run.folder,
    )
