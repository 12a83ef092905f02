"""Load and save Hugging Face models and tokenizers, with errors that say what to do.

Weights are read from safetensors only, and no code of a repository is ever run.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lilliput import encoder, processes, tasks
from lilliput.config.base import MAX_LENGTH
from lilliput.errors import ConfigError, ModelError
from lilliput.tasks import Task


def load_tokenizer(source: str | Path, revision: str | None = None) -> Any:
    """The fast tokenizer of a folder or Hub id.

    Raises:
        ModelError: it has none that can be used, or none that knows a word.
    """
    from transformers import AutoTokenizer

    _check_folder(source, ("config.json", "tokenizer_config.json"))
    try:
        tokenizer = AutoTokenizer.from_pretrained(
            str(source), revision=revision, use_fast=True, trust_remote_code=False
        )
    except (OSError, ValueError, KeyError) as error:
        raise ModelError(f"{source}: no usable tokenizer: {_first_line(error)}") from error
    if not set(tokenizer.get_vocab()) - set(tokenizer.all_special_tokens):
        # Where its files are missing, transformers makes one that knows no word.
        raise ModelError(f"{source}: holds no tokenizer; save the model's own there with save_pretrained")
    if not tokenizer.is_fast:
        raise ModelError(
            f"{source}: the tokenizer has no tokenizer.json; convert it with transformers' fast tokenizers first"
        )
    tokenizer.padding_side = "right"  # where labels of tokens, and what a teacher says of them, are padded
    return tokenizer


def load_for(task: Task, source: str | Path, labels: Sequence[str], revision: str | None = None) -> Any:
    """A model with the head that ``task`` needs, to be trained; the head is fresh unless the checkpoint has it.

    Args:
        labels: names of the head's outputs, in their order; empty where the task's head has none.

    Raises:
        ModelError: missing files or weights, unsupported architecture, or weights that are not safetensors.
    """
    _check_folder(source)
    config = _load_config(source, revision)
    if labels:
        config.num_labels = len(labels)
        config.id2label = dict(enumerate(labels))
        config.label2id = {label: i for i, label in enumerate(labels)}
    if task.problem:
        config.problem_type = task.problem  # a checkpoint made for another problem brings its loss along
    model, unfit = _load(_head_of(task), source, revision, config=config)
    headless = task.head == "AutoModel"
    base = "" if headless else f"{model.base_model_prefix}."
    _refuse(source, {name for name in unfit if name.startswith(base) and not name.startswith(f"{base}pooler.")})
    pairs = task.opposites(labels)
    if pairs and any(not name.startswith(base) for name in unfit):
        from lilliput import classifier_head

        classifier_head.oppose(model, pairs)
    return model


def load_finetuned(task: Task, source: str | Path, revision: str | None = None) -> Any:
    """A model as it was fine-tuned for ``task``.

    Raises:
        ModelError: there is no such model, or its head was not trained for this task, or it makes its vectors in
            another way than as the mean over the tokens.
    """
    _check_folder(source)
    config = _load_config(source, revision)
    heads = config.architectures or []
    wanted = _head_name(task)
    if not any(name.endswith(wanted or "Model") for name in heads):
        made_for = ", ".join(heads) or "nothing in particular"
        raise ModelError(
            f"{source}: made for {made_for}, not for {_in_words(wanted)}; fine-tune it first with 'lilliput finetune'"
        )
    if not wanted:
        _check_pooling(source, revision)
    model, unfit = _load(_head_of(task), source, revision)
    _refuse(source, {name for name in unfit if wanted or not name.startswith("pooler.")})
    return model


def load_classifier(source: str | Path, labels: Sequence[str], revision: str | None = None) -> Any:
    """`load_for` for single-label classification."""
    return load_for(tasks.get("classification"), source, labels, revision)


def load_finetuned_classifier(source: str | Path, revision: str | None = None) -> Any:
    """`load_finetuned` for single-label classification."""
    return load_finetuned(tasks.get("classification"), source, revision)


def task_of(source: str | Path, revision: str | None = None) -> Task:
    """The task that a checkpoint was fine-tuned for: the one that `note` kept, else what head and problem type tell.

    Raises:
        ModelError: they tell none, or there is no usable configuration.
    """
    _check_folder(source)
    config = _load_config(source, revision)
    kept = _facts(config).get("task")
    if kept in tasks.names():
        return tasks.get(kept)
    # A single output without a problem type is read as the text-classification pipeline of transformers reads it.
    usual = "single" if config.num_labels > 1 else "multi"
    problem = config.problem_type or f"{usual}_label_classification"
    for task in map(tasks.get, tasks.names()):
        fits = task.problem in (None, problem) and not task.new_tokens  # tokens of ours: a model of ours, with a note
        if fits and any(name.endswith(_head_name(task) or "Model") for name in config.architectures or []):
            return task
    made_for = ", ".join(config.architectures or []) or "nothing in particular"
    raise ModelError(f"{source}: made for {made_for}; which task is that? Give --task: {', '.join(tasks.names())}")


def is_headless(source: str | Path, revision: str | None = None) -> bool:
    """Whether a checkpoint is an encoder without a head of any task."""
    _check_folder(source)
    heads = _load_config(source, revision).architectures or []
    return bool(heads) and all(name.endswith("Model") for name in heads)


def add_tokens(model: Any, tokenizer: Any, tokens: Sequence[str]) -> None:
    """Make each of ``tokens`` a special token, with a fresh embedding where the vocabulary lacks it.

    A fresh embedding is as long as those of the words are on average: a shorter one would go under beside the
    embeddings of position and type.
    """
    import torch

    if not tokenizer.add_tokens(list(tokens), special_tokens=True):
        return
    known = model.get_input_embeddings().num_embeddings
    if len(tokenizer) > known:  # some models have rows to spare
        model.resize_token_embeddings(len(tokenizer), mean_resizing=False)
        with torch.no_grad():
            rows = model.get_input_embeddings().weight
            rows[known:] *= rows[:known].norm(dim=-1).mean() / rows[known:].norm(dim=-1, keepdim=True)


def note(model: Any, **facts: Any) -> None:
    """Keep facts about a model in its configuration, from where `noted` reads them after saving and loading."""
    model.config.lilliput = {**noted(model), **facts}


def noted(model: Any) -> dict[str, Any]:
    """What `note` kept: ``task``, ``settings`` (thresholds and the like), ``max_length``; empty for other models."""
    return _facts(model.config)


def labels_of(model: Any) -> tuple[str, ...]:
    """Label names in the order of the logits."""
    return tuple(model.config.id2label[i] for i in range(model.config.num_labels))


def match_labels(model: Any, data_labels: Sequence[str], where: str) -> tuple[int, ...]:
    """For each label of the data, the index of the model's logit that stands for it.

    Names are compared as they are, then without regard to case. A model that never got names (``LABEL_0`` ...) is
    taken to have the data's labels in their order, and is given their names. A score may have any name.

    Raises:
        ModelError: the model has other labels than the data.
    """
    names = labels_of(model)
    if len(names) == len(data_labels) == 1 and model.config.problem_type == "regression":
        return (0,)
    if len(names) == len(data_labels):
        for form in (str, str.lower):
            found = {form(name): i for i, name in enumerate(names)}
            wanted = [form(label) for label in data_labels]
            if len(found) == len(names) and set(wanted) == set(found):
                return tuple(found[label] for label in wanted)
        if all(name == f"LABEL_{i}" for i, name in enumerate(names)):
            model.config.id2label = dict(enumerate(data_labels))
            model.config.label2id = {label: i for i, label in enumerate(data_labels)}
            return tuple(range(len(names)))
    raise ModelError(
        f"{where}: its labels are {_listed(names)}, but the data's are {_listed(data_labels)}; name them alike, in the "
        "data or as id2label and label2id in the model's config.json"
    )


def _listed(names: Sequence[str], most: int = 20) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def save(model: Any, tokenizer: Any, folder: Path, task: Task | None = None) -> None:
    """Save as ``from_pretrained`` reads it, with the files that older loaders and other libraries look for as well.

    Of several processes that trained the model together, the main one alone does.
    """
    if not processes.is_main():
        return
    model.save_pretrained(folder)
    for weights in folder.glob("*.safetensors"):
        weights.chmod(0o644)  # the library makes them readable by their owner only
    save_tokenizer(tokenizer, folder)
    files = task.files(encoder.shape_of(model).hidden, tokenizer.model_max_length) if task else {}
    for name, value in files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")


def save_tokenizer(tokenizer: Any, folder: Path) -> None:
    """Write tokenizer.json, tokenizer_config.json, special_tokens_map.json, and vocab.txt (or vocab.json, merges.txt).

    transformers 5 writes the first two only; older releases and other loaders look for the rest.
    """
    tokenizer.save_pretrained(folder)
    special = {key: str(value) for key, value in tokenizer.special_tokens_map.items() if isinstance(value, str)}
    (folder / "special_tokens_map.json").write_text(json.dumps(special, indent=2) + "\n", encoding="utf-8")
    # The vocabulary model writes its own classic files: vocab.txt (WordPiece), vocab.json and merges.txt (BPE).
    tokenizer.backend_tokenizer.model.save(str(folder))


def fingerprint(source: str | Path, revision: str | None = None) -> str:
    """What identifies a checkpoint: a digest of a folder's files, or the Hub id and revision."""
    import hashlib

    folder = Path(source)
    if not folder.is_dir():
        return f"{source}@{revision or 'main'}"
    whole = hashlib.sha256()
    for path in sorted(folder.iterdir()):
        if path.is_file() and path.suffix in (".json", ".safetensors", ".txt"):
            with path.open("rb") as file:
                whole.update(f"{path.name}\0{hashlib.file_digest(file, 'sha256').hexdigest()}\n".encode())
    return whole.hexdigest()


def check_length(model: Any, max_length: int) -> None:
    """Raise :class:`ConfigError` when ``max_length`` exceeds the positions that the model has."""
    longest = encoder.longest_input(model)
    if max_length > longest:
        origin = ", the default" if max_length == MAX_LENGTH else ""
        raise ConfigError(
            f"--max-length {max_length}{origin}: this model reads at most {longest} tokens; give --max-length {longest}"
        )


def _facts(config: Any) -> dict[str, Any]:
    found = getattr(config, "lilliput", None)
    return found if isinstance(found, dict) else {}


def _head_name(task: Task) -> str:
    """``ForSequenceClassification``; empty for a plain encoder."""
    return task.head.removeprefix("Auto").removeprefix("Model")


def _head_of(task: Task) -> Any:
    import transformers

    return getattr(transformers, task.head)


def _in_words(head: str) -> str:
    """``ForSequenceClassification`` as "sequence classification"."""
    return re.sub(r"(?<!^)(?=[A-Z])", " ", head.removeprefix("For")).lower() or "embedding"


def _load_config(source: str | Path, revision: str | None) -> Any:
    from transformers import AutoConfig

    import lilliput.architectures  # noqa: F401 - so that transformers knows them

    try:
        config = AutoConfig.from_pretrained(str(source), revision=revision, trust_remote_code=False)
    except (OSError, ValueError, KeyError) as error:
        raise ModelError(f"{source}: no usable config.json: {_first_line(error)}") from error
    encoder.check_supported(config.model_type, str(source))
    return config


def _load(kind: Any, source: str | Path, revision: str | None, **options: Any) -> tuple[Any, set[str]]:
    """A model, and the names of its weights that the checkpoint lacks or has in another shape."""
    import torch
    from safetensors import SafetensorError

    try:
        # float32 whatever the checkpoint's type: training and parity are defined on it.
        model, report = kind.from_pretrained(
            str(source),
            revision=revision,
            use_safetensors=True,
            trust_remote_code=False,
            dtype=torch.float32,
            ignore_mismatched_sizes=True,
            output_loading_info=True,
            **options,
        )
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        raise ModelError(f"{source}: can't load its weights (model.safetensors): {_first_line(error)}") from error
    return model, {*report["missing_keys"], *(name for name, *_ in report["mismatched_keys"])}


def _refuse(source: str | Path, unfit: set[str]) -> None:
    """Weights that are not in the checkpoint would be random: an error, for nobody would notice."""
    if unfit:
        names = sorted(unfit)
        more = f" and {len(names) - 3} more" if len(names) > 3 else ""
        raise ModelError(
            f"{source}: lacks weights that its config.json asks for, or has them in another shape: "
            f"{', '.join(names[:3])}{more}; get the checkpoint again"
        )


def _check_pooling(source: str | Path, revision: str | None) -> None:
    """The vector of a text is the mean over its tokens here: one that sentence-transformers makes otherwise is refused.

    Raises:
        ModelError: it is pooled otherwise, or goes through another layer afterwards.
    """
    modules = _json_of(source, "modules.json", revision)
    for module in modules if isinstance(modules, list) else []:
        kind = str(module.get("type", "")).rpartition(".")[2]
        if kind not in ("Transformer", "Pooling", "Normalize"):
            raise ModelError(f"{source}: its vectors go through a {kind} layer, which is not supported")
        if kind == "Pooling":
            found = _json_of(source, f"{module.get('path', '1_Pooling')}/config.json", revision) or {}
            ways = [name.removeprefix("pooling_mode_") for name, on in found.items() if on is True and "_mode_" in name]
            ways += [found["pooling_mode"]] if "pooling_mode" in found else []
            if any(way not in ("mean", "mean_tokens") for way in ways):
                raise ModelError(f"{source}: its vectors are pooled by {', '.join(map(str, ways))}; only mean is read")


def _json_of(source: str | Path, name: str, revision: str | None) -> Any:
    """What a JSON file of a checkpoint holds; None where there is no such file."""
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError

    path = Path(source) / name
    if not path.is_file():
        if Path(source).is_dir():
            return None
        try:
            path = Path(hf_hub_download(str(source), name, revision=revision))
        except EntryNotFoundError:  # also where there is no network, and no such file in the cache
            return None
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(f"{path}: not readable as JSON: {_first_line(error)}") from None


def _check_folder(source: str | Path, files: Sequence[str] = ("config.json",)) -> None:
    """A path that is meant as a folder must exist: transformers would ask the Hub for it, and say so confusingly.

    It must hold one of ``files``.
    """
    path = Path(source)
    looks_like_path = isinstance(source, Path) or str(source).startswith((".", "/", "~")) or str(source).count("/") > 1
    if looks_like_path and not path.is_dir():
        raise ModelError(f"{source}: no such folder")
    if path.is_dir() and not any((path / name).is_file() for name in files):
        raise ModelError(f"{source}: holds no {files[0]}; give a folder written by save_pretrained")


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
