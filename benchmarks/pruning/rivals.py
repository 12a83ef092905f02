"""What a user would do without Lilliput's search: uniform magnitude pruning with Torch-Pruning, or dropping layers.

Each is made as fast as a given bundle, as nearly as its sizes allow, and gets the same recovery.
"""

from __future__ import annotations

import functools
import math
import random
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from lilliput import encoder, models, tasks
from lilliput.benchmarks.folds import ModelsOfFold
from lilliput.compress import engine
from lilliput.compress.mapping import evenly_spaced
from lilliput.rebuilding import rebuild
from lilliput.runs import Stage

TEXTS = 200
"""Training texts that the stopwatch reads."""


def torch_pruning(model: Any, kept: int) -> Any:
    """Keep ``kept`` heads of every block and the same share of dimensions and neurons, those with the largest weights,
    by Torch-Pruning's `MagnitudePruner` over its dependency graph; then give what is left a configuration of its size.

    Reference: Fang et al. 2023, "DepGraph: Towards Any Structural Pruning".
    """
    import torch_pruning as tp

    whole, size = encoder.shape_of(model), encoder.head_size_of(model)
    ids = torch.arange(5, 21)[None]  # any text
    heads = {layer: whole.heads for b in encoder.blocks_of(model) for layer in (b.query, b.key, b.value)}
    model.requires_grad_(True)  # the dependency graph is read off the gradients' graph
    pruner = tp.pruner.MagnitudePruner(
        model,
        {"input_ids": ids, "attention_mask": torch.ones_like(ids)},
        importance=tp.importance.GroupMagnitudeImportance(p=2, group_reduction="mean"),
        global_pruning=False,
        pruning_ratio=1 - (kept + 1e-3) / whole.heads,  # it rounds down what stays
        ignored_layers=[encoder.ends_of(model).last],
        num_heads=heads,
        prune_num_heads=True,
        prune_head_dims=False,
        head_pruning_ratio=1 - (kept + 1e-3) / whole.heads,
        round_to=size,  # else rounding errors leave a dimension too few for whole heads
        output_transform=lambda out: out.logits.sum(),
    )
    pruner.step()
    block = encoder.blocks_of(model)[0]
    shape = replace(
        whole,
        hidden=block.query.in_features,
        heads=block.query.out_features // size,
        ffn=block.ffn_in.out_features,
    )
    return rebuild(model, shape)


def layer_drop(model: Any, kept: int) -> Any:
    """Keep ``kept`` evenly spaced blocks."""
    return encoder.keep_layers(model, evenly_spaced(kept, encoder.shape_of(model).layers))


RIVALS: Mapping[str, Callable[[Any, int], Any]] = {"torch-pruning": torch_pruning, "layer-drop": layer_drop}
"""Each cuts a model to one of its sizes, 1 and up; it may use the model up."""


def cut(fold: ModelsOfFold, name: str, reference: Path) -> Stage:
    """The size of a rival whose latency is nearest to that of the bundle ``reference``, in proportion, as a stage.

    The result has ``size``; ``layers``, of the model; and ``latency``, the model's over the reference's.
    """
    identity = {"teacher": models.fingerprint(fold.teacher()), "reference": models.fingerprint(reference)}
    return fold.run.stage(f"{name}-cut", identity, functools.partial(_cut, fold, RIVALS[name], reference))


def _cut(fold: ModelsOfFold, make: Callable[[Any, int], Any], reference: Path, folder: Path) -> dict[str, Any]:
    task, source = tasks.get("classification"), fold.teacher()
    tokenizer = models.load_tokenizer(source)
    texts = random.Random(fold.number).sample(fold.dataset.train.texts, min(TEXTS, len(fold.dataset.train)))
    whole = encoder.shape_of(models.load_finetuned(task, source))
    latencies: dict[int, float] = {}
    for size in range(1, max(whole.heads, whole.layers) + 1):
        small = make(models.load_finetuned(task, source), size).eval()
        with tempfile.TemporaryDirectory() as name:
            bundle = engine.runnable(small, tokenizer, "int8", texts, Path(name) / "bundle", max_length=128)
            timed = engine.compare([bundle, reference], texts, precision="int8")
        latencies[size] = timed[1].speedup.value
        if latencies[size] > 1:
            break
    chosen = min(latencies, key=lambda size: abs(math.log(latencies[size])))
    small = make(models.load_finetuned(task, source), chosen).eval()
    models.note(small, task=task.name, max_length=128)
    models.save(small, tokenizer, folder, task)
    return {"size": chosen, "layers": encoder.shape_of(small).layers, "latency": latencies[chosen]}
