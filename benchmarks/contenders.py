"""Who takes part in a benchmark: bundles and Hugging Face models, in folders and on the Hub."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lilliput import hub, models
from lilliput.benchmarks import entries
from lilliput.benchmarks.entries import Entry
from lilliput.benchmarks.measured import same_labels
from lilliput.benchmarks.peers import plain_onnx_int8
from lilliput.bundle import Bundle
from lilliput.errors import BundleError, ConfigError
from lilliput.manifest import MANIFEST

FILES = ("*.json", "*.txt", "*.safetensors", "*.model")
"""What of a Hub repository a Hugging Face model is loaded from; no code, no pickles."""
SHORT, LONG = 128, 512
"""Tokens of a text that a Hugging Face model reads: what its tokenizer says, where that is not beyond ``LONG``."""


@dataclass(frozen=True)
class Contender:
    """A model that takes part.

    Attributes:
        name: what its rows are called after; two of one benchmark differ.
        folder: where its files are.
        precisions: of a bundle, those of its graphs; none of a Hugging Face model.
        outputs: the data's label of each of its outputs, where it has other names or another order; else empty.
        max_length: tokens that it reads.
    """

    name: str
    folder: Path
    precisions: tuple[str, ...]
    outputs: tuple[str, ...]
    max_length: int

    @property
    def is_bundle(self) -> bool:
        """Whether Lilliput's runtime answers for it, and not PyTorch."""
        return bool(self.precisions)


def find(place: str, label_names: Sequence[str]) -> Contender:
    """The model at a place: a folder, or a Hub id, perhaps with ``@REVISION``; ``NAME=PLACE`` gives it a name.

    Raises:
        BundleError, ModelError, ConfigError: there is none, or it answers other labels than the data has.
    """
    given, rest = named(place)
    folder = _folder_of(rest)
    name = given or (folder.resolve().name if Path(rest).exists() else rest)
    if (folder / MANIFEST).exists() or not (folder / "config.json").exists():
        manifest = Bundle.open(folder).manifest
        if sorted(map(str.casefold, manifest.labels)) != sorted(map(str.casefold, label_names)):
            raise ConfigError(
                f"{place}: answers {', '.join(manifest.labels)}, but the data's labels are {', '.join(label_names)}"
            )
        ordered = same_labels(manifest.labels, label_names)
        outputs = () if ordered else tuple(_as_data(label, label_names) for label in manifest.labels)
        return Contender(name, folder, tuple(manifest.graphs), outputs, manifest.max_length)
    return _of_hugging_face(place, name, folder, label_names)


def named(place: str) -> tuple[str, str]:
    """The name that ``NAME=PLACE`` gives, empty without one, and the place."""
    if Path(place).exists():
        return "", place
    name, _, rest = place.rpartition("=")
    return name, rest


def _of_hugging_face(place: str, name: str, folder: Path, label_names: Sequence[str]) -> Contender:
    model = models.load_finetuned_classifier(folder)
    order = models.match_labels(model, label_names, place)  # of each label, the place of its output
    outputs = [""] * len(order)
    for label, output in zip(label_names, order, strict=True):
        outputs[output] = label
    longest = models.load_tokenizer(str(folder)).model_max_length
    return Contender(name, folder, (), tuple(outputs), longest if longest <= LONG else SHORT)


def _as_data(label: str, label_names: Sequence[str]) -> str:
    return next(name for name in label_names if name.casefold() == label.casefold())


def _folder_of(place: str) -> Path:
    """Where the files of a place are; those of the Hub are fetched into its cache, unless they are there."""
    path = Path(place)
    if path.exists() or place.startswith((".", "/", "~")):
        if not path.is_dir():
            raise ConfigError(f"{place}: no such folder")
        return path
    name, _, revision = place.partition("@")
    try:
        return hub.folder_of(name, revision or None)
    except BundleError as error:
        if "holds no" not in str(error):
            raise
    from huggingface_hub import snapshot_download

    return Path(snapshot_download(name, revision=revision or None, allow_patterns=list(FILES)))


def entries_of(
    contenders: Sequence[Contender], folder: Path, seeds: tuple[int, ...], providers: Sequence[str] = ("cpu",)
) -> list[Entry]:
    """Every bundle in each of its precisions and on each provider, every Hugging Face model in eager PyTorch; the first
    one, which is the teacher, in eager PyTorch and as a plain int8 export as well.

    Args:
        folder: where the plain export is made.

    Raises:
        ConfigError: two are of one name.
    """
    names = [one.name for one in contenders]
    if len(set(names)) < len(names):
        raise ConfigError(
            f"bundles must have different folder names, but got {', '.join(names)}; NAME=PLACE gives one another name"
        )
    found = []
    for place, one in enumerate(contenders):
        first = place == 0
        if first or not one.is_bundle:
            role = "teacher_eager" if first else "student"
            found.append(entries.of_torch_eager(one.folder, one.name, one.max_length, seeds, role, one.outputs))
        if first:
            plain = plain_onnx_int8.build(one.folder, folder / "plain-int8", max_length=one.max_length)
            found.append(entries.of_plain_onnx_int8(plain, one.name, seeds, one.outputs))
        for precision in one.precisions:
            for provider in providers:
                found.append(_of_bundle(one, precision, provider, first, seeds))
    return found


def _of_bundle(one: Contender, precision: str, provider: str, first: bool, seeds: tuple[int, ...]) -> Entry:
    fp32 = precision == "fp32" and provider == "cpu"
    role = "student" if not first else "teacher_fp32" if fp32 else "teacher"
    return entries.of_bundle(one.folder, one.name, precision, role, seeds, provider, one.outputs)
