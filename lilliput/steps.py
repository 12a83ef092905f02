"""What several commands of :mod:`lilliput.pipeline` do: export a model, measure bundles, say where they come from."""

from __future__ import annotations

import random
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from lilliput import classifier_head, machine, models, tasks
from lilliput.benchmarks import contenders, entries, latency, report
from lilliput.benchmarks.peers import tfidf
from lilliput.config import Config, DataConfig, ExportConfig
from lilliput.errors import ConfigError
from lilliput.export.to_bundle import to_bundle
from lilliput.train import embedded, features, masked_rows, sources
from lilliput.train.data import Dataset
from lilliput.train.evaluate import Progress, outputs_of
from lilliput.train.gates import gate_inputs

REPEATED = ("corpus", "objective", "provider", "scenario", "stage", "teacher")
"""Flags that are given once for each of several values."""

FLOOR_TEXTS = 20_000
"""Training texts of the TF-IDF floor: the word pairs of all texts of a large data set would take gigabytes."""

SAMPLES = 256
"""Training texts that show the quantizer how large activations are."""


def measure(
    bundles: Mapping[str, Path],
    dataset: Dataset,
    folder: Path,
    *,
    run: report.RunFacts,
    title: str,
    threads: int = 1,
    rounds: int = 10,
    limit: int | None = None,
    slice_column: str | None = None,
    seed: int = 0,
    smoke: bool = False,
    gates: Sequence[Mapping[str, Any]] = (),
    progress: Progress | None = None,
) -> dict[str, Any]:
    """The report on bundles, the first of which is the teacher, and on what they are compared with.

    Args:
        bundles: folders, by name.
        dataset: its test split is read; TF-IDF learns from its training split, from `FLOOR_TEXTS` of it at most.
        folder: of what the measurement needs on disk.
        run, title, smoke, gates: of `report.build_report`.
        threads: of each model.
        rounds: in which the models take turns.
        limit: test texts at most; all by default.
        slice_column: column of the data by whose values accuracies are broken down.

    Raises:
        ConfigError: the first bundle is no teacher of these labels, or the data have others.
    """
    test = dataset.test if limit is None else dataset.subset(test=limit, seed=seed).test
    found = [contenders.find(f"{name}={path}", dataset.label_names) for name, path in bundles.items()]
    few = dataset.subset(train=FLOOR_TEXTS).train
    train = tfidf.write_train(few.texts, few.labels, folder / "tfidf-train.json")
    floor = entries.of_tfidf(train, dataset.label_names)
    measured = [*contenders.entries_of(found, folder, (seed,)), floor]
    result = latency.run(
        measured,
        test.texts,
        threads=threads,
        rounds=rounds,
        folder=folder,
        all_cores=not smoke,
        on_progress=progress,
        labels=dataset.label_names,
    )
    teacher = next(entry.name for entry in measured if entry.role == "teacher_fp32")
    column = (slice_column, test.slices) if slice_column else None
    return report.build_report(
        report.rows(result, measured, test.labels, dataset.label_names, teacher=teacher, column=column),
        result,
        title=title,
        data={
            "name": dataset.name,
            "split": "test",
            "n_test": len(test),
            "fingerprint": dataset.fingerprint,
            "report": dataset.report.to_dict(),
        },
        run=run,
        smoke=smoke,
        gates=gates,
    )


def texts_for_export(config: ExportConfig) -> Dataset:
    """What the gates and the quantizer of an export read: the data of the task, or raw text where that has no labels.

    Raises:
        DataError, ModelError, ConfigError: something given is not usable; see the message.
    """
    if config.task not in tasks.names() or tasks.get(config.task).command == "finetune":
        return sources.load(config)
    tokenizer = models.load_tokenizer(config.model, config.revision)
    if tokenizer.mask_token is None:
        raise ConfigError(f"--model {config.model}: its tokenizer has no mask token, which {config.task} needs")
    return masked_rows.load(config, tokenizer.mask_token)


def export_model(
    config: ExportConfig,
    dataset: Dataset,
    provenance: Mapping[str, Any],
    recipe: Mapping[str, Any],
    progress: Progress | None,
) -> dict[str, Any]:
    """Load a fine-tuned model, put its labels in the data's order, and write its bundle (see ``to_bundle``)."""
    task = tasks.get(config.task)
    tokenizer = models.load_tokenizer(config.model, config.revision)
    model = models.load_finetuned(task, config.model, config.revision)
    models.check_length(model, config.max_length)
    if dataset.label_names:
        classifier_head.reorder_labels(model, models.match_labels(model, dataset.label_names, config.model))
    tokenizer.model_max_length = config.max_length
    items = gate_inputs(dataset, config.gate_texts, config.seed, longest=config.max_length)
    windows = features.windows_of(task, tokenizer, items, config.max_length)
    found = iter(
        outputs_of(
            model,
            tokenizer,
            [window for some in windows for window in some],
            progress=progress,
            what="torch reads the gate texts",
        )
    )
    reference = [[next(found) for _ in some] for some in windows]
    samples = random.Random(config.seed).sample(dataset.train.inputs, min(SAMPLES, len(dataset.train.inputs)))
    return to_bundle(
        model,
        tokenizer,
        config,
        items,
        reference,
        samples=samples,
        provenance=dict(provenance),
        recipe=dict(recipe),
        progress=progress,
    )


def public_name(name: str) -> str:
    """A model or data set by the name that others may read: the last part of a local path, a Hub id as it is."""
    return Path(name).name if Path(name).exists() else name


def recipe_beside(model: str) -> dict[str, Any]:
    """The recipe of a model that a stage of a run made, without the paths in it; empty for other models."""
    path = Path(model) / "config.yaml"
    if not path.is_file():
        return {}
    recipe = yaml.safe_load(path.read_text(encoding="utf-8"))
    kept = {key: value for key, value in recipe.items() if key not in ("out", "teacher", "save_every")}
    return {key: public_name(value) if isinstance(value, str) else value for key, value in kept.items()}


def measured_on() -> dict[str, Any]:
    """What a measurement depends on beside the models: another machine or engine measures again."""
    return {"cpu": machine.cpu().name, **machine.versions(("onnxruntime", "torch", "tokenizers", "transformers"))}


def command_of(config: Config) -> str:
    """The command line that gives this configuration."""
    words = ["lilliput", config.command]
    for name, field in type(config).model_fields.items():
        value = getattr(config, name)
        if name == "bundles":
            words += map(str, value)
        elif value is True and field.default is not True:
            words.append("--" + name.replace("_", "-"))
        elif value is False and field.default is not False:
            words.append("--no-" + name.replace("_", "-"))
        elif value != field.default:
            given = value if name in REPEATED and not isinstance(value, str) else [_in_short(value)]
            words += [word for one in given for word in ("--" + name.replace("_", "-"), str(one))]
    return shlex.join(words)


def _in_short(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)


def data_provenance(config: DataConfig, dataset: Dataset) -> dict[str, Any]:
    """What a manifest says of the data: name, fingerprint, and licence and citation where they are known."""
    data: dict[str, Any] = {"name": public_name(dataset.name), "fingerprint": dataset.fingerprint}
    if config.data == sources.SENTIMENT:
        data |= {"licence": embedded.SENTIMENT.licence, "citation": embedded.SENTIMENT.citation}
    return {"data": data}
