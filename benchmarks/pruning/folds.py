"""The pruned models of one fold, and the rivals."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from transformers import AutoConfig

import lilliput.architectures  # noqa: F401  registers what pruned models may be
from lilliput import models
from lilliput.benchmarks import commands
from lilliput.benchmarks.folds import BUNDLE, ModelsOfFold
from lilliput.benchmarks.pruning import rivals
from lilliput.benchmarks.pruning.family import PACKED, PRUNED, RECOVERY
from lilliput.compress.distillation import distill_stage
from lilliput.compress.pruning import prune_stages
from lilliput.config import DistillConfig, PruneConfig, QuantizeConfig
from lilliput.runs import Stage

REFERENCE = "x4"
"""The member that rivals are to be as fast as, as nearly as their sizes allow."""

MATCH = "as-"
"""Before the name of a rival: the member of the family that is as fast as that one, with the reference's settings."""


class Fold(ModelsOfFold):
    """One fold and what is pruned of its teacher; see `ModelsOfFold`."""

    def __init__(self, number: int, work: Path, teachers: Path, **settings: Any) -> None:
        super().__init__(number, work, teachers, "pruning", **settings)

    def model(self, name: str) -> Stage:
        """A member of the family, and before it the one that it goes on from; a rival; or a rival's match."""
        name = PACKED[name]["model"] if name in PACKED else name
        if name in rivals.RIVALS:
            return self._rival(name)
        if name.startswith(MATCH):
            rival = self._cut(name.removeprefix(MATCH))
            _, pruning = self._pruned(REFERENCE, PRUNED[REFERENCE])
            speedup = pruning["achieved"] / rival.result["latency"]  # of the rival, over the teacher
            return self._pruned(name, {**PRUNED[REFERENCE], "speedup": speedup})[0]
        return self._pruned(name, PRUNED[name])[0]

    def blocks(self, name: str) -> list[list[int]]:
        """Heads and neurons of each block of a model."""
        config = AutoConfig.from_pretrained(self.model(name).folder)
        if hasattr(config, "block_heads"):
            return [list(pair) for pair in zip(config.block_heads, config.block_ffn, strict=True)]
        return [[config.num_attention_heads, config.intermediate_size]] * config.num_hidden_layers

    def bundle(self, name: str) -> Stage:
        """The bundle of a member or a rival."""
        return self._packed(name) if name in PACKED else self.bundle_of(name, self.model(name).folder)

    def _packed(self, name: str) -> Stage:
        """The bundle of a member in fewer bits than int8, whose graph is its last one."""
        whole = self.bundle(PACKED[name]["model"])
        source = whole.folder / BUNDLE
        settings = {**PACKED[name], "model": str(source), "seed": self.number}

        def work(folder: Path) -> dict[str, Any]:
            commands.run(QuantizeConfig(**settings, out=folder / BUNDLE))
            return {**whole.result, "precisions": [*whole.result["precisions"], settings["precision"]]}

        identity = {"bundle": models.fingerprint(source), "manifest": models.fingerprint(source / "onnx")}
        return self.run.stage(f"{name}-bundle", {**identity, "settings": PACKED[name]}, work)

    def _pruned(self, name: str, chosen: Mapping[str, Any]) -> tuple[Stage, dict[str, Any]]:
        """The stages of ``lilliput prune`` with these settings; the last of them, and what was pruned."""
        settings: dict[str, Any] = {**self.settings, **chosen, "out": self.run.folder}
        if before := settings.get("model"):
            settings |= {"model": str(self.model(before).folder), "teacher": str(self.teacher())}
        else:
            settings["model"] = str(self.teacher())
        return prune_stages(self.run, PruneConfig(**settings), self.dataset, name=name)

    def _cut(self, rival: str) -> Stage:
        """What a rival cuts, at its size that is nearest to the reference in latency."""
        return rivals.cut(self, rival, self.bundle(REFERENCE).folder / BUNDLE)

    def _rival(self, name: str) -> Stage:
        """Cut as the rival does, then recovered as the reference was."""
        cut = self._cut(name)
        settings = {
            **self.settings,
            **RECOVERY,
            "out": self.run.folder,
            "teacher": (str(self.teacher()),),
            "initial_model": str(cut.folder),
            "student": f"layers={cut.result['layers']}",
        }
        return distill_stage(self.run, name, DistillConfig(**settings), self.dataset)
