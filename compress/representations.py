"""What student and teacher compute inside, side by side, for losses of layers and embeddings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from lilliput import encoder
from lilliput.compress.mapping import LEARNED, LearnedMapping, layer_mapping
from lilliput.compress.objectives import LayerStates, Objective
from lilliput.errors import ConfigError

Term = tuple[float, Objective]
"""A loss and its weight."""


class Watched:
    """Keeps what the blocks of a model computed in its last pass."""

    def __init__(self, model: Any) -> None:
        self.heads = [shape.heads for shape in encoder.block_shapes_of(model)]
        self.count = len(encoder.layers_of(model))
        self._seen: dict[Any, Tensor] = {}
        self._hooks: list[Any] = []
        self._watch(encoder.embeddings_of(model), "embeddings")
        for number, block in enumerate(encoder.layers_of(model)):
            self._watch(block, (number, "hidden"))
        for number, parts in enumerate(encoder.attention_projections_of(model)):
            for name, part in zip(("query", "key", "value"), parts, strict=True):
                self._watch(part, (number, name))

    def _watch(self, module: nn.Module, name: Any) -> None:
        self._hooks.append(module.register_forward_hook(lambda _, inputs, output: self._seen.__setitem__(name, output)))

    def embeddings(self) -> LayerStates:
        """The embeddings' output."""
        return LayerStates(self._seen["embeddings"], None, None, None, self.heads[0])

    def layer(self, number: int) -> LayerStates:
        """What block ``number`` computed."""
        query, key, value = (self._seen[number, name] for name in ("query", "key", "value"))
        return LayerStates(self._seen[number, "hidden"], query, key, value, self.heads[number])

    def forget(self) -> None:
        """Let go of the last pass."""
        self._seen.clear()

    def close(self) -> None:
        """Watch no more passes."""
        self.forget()
        for hook in self._hooks:
            hook.remove()


class Matching(nn.Module):
    """What is trained beside a student that is narrower than its teacher, or learns which layers to learn from.

    ``hidden`` and ``embeddings`` project the student's states to the teacher's width (W_h and W_e of TinyBERT, Jiao et
    al. 2020, equations 8 and 9); they begin as a matrix with orthonormal columns, or as nothing where widths are equal.
    A student that was pruned from its teacher is compared with the teacher's dimensions that it has kept: ``kept``.
    In a later stage they go on from the best of the stage before.
    """

    def __init__(self, student: Any, teacher: Any, mapping: str, kept: Sequence[int] | None = None) -> None:
        super().__init__()
        ours, theirs = (encoder.shape_of(model) for model in (student, teacher))
        self.kept = list(kept) if kept and ours.hidden < theirs.hidden else None
        width = theirs.hidden if self.kept is None else len(self.kept)
        self.hidden = _projection(ours.hidden, width)
        self.embeddings = _projection(ours.hidden, width)
        self.layers = layer_mapping(mapping, ours.layers, theirs.layers)
        self.learned = LearnedMapping(ours.layers, theirs.layers) if mapping == LEARNED else None

    def forward(
        self, terms: Sequence[Term], student: Watched, teacher: Watched, mask: Tensor, relation_heads: int | None
    ) -> Tensor:
        """The weighted sum of the losses on layers and embeddings after a pass of both models.

        Args:
            mask: ``[B, T]``.
        """
        total = mask.new_zeros((), dtype=torch.float32)
        for weight, objective in terms:

            def compare(ours: LayerStates, theirs: LayerStates, loss: Any = objective.loss) -> Tensor:
                if self.kept is not None:
                    theirs = replace(theirs, hidden=theirs.hidden[..., self.kept])
                return loss(ours, theirs, mask, relation_heads=relation_heads)

            if objective.on == "embeddings":
                ours = student.embeddings()
                value = compare(replace(ours, hidden=self.embeddings(ours.hidden)), teacher.embeddings())
            else:
                value = self._layers(compare, student, teacher)
            total = total + weight * value
        return total

    def _layers(self, compare: Any, student: Watched, teacher: Watched) -> Tensor:
        ours = [student.layer(number) for number in range(student.count)]
        ours = [replace(states, hidden=self.hidden(states.hidden)) for states in ours]
        if self.learned is not None:
            theirs = [teacher.layer(number) for number in range(teacher.count)]
            return self.learned(torch.stack([torch.stack([compare(own, one) for one in theirs]) for own in ours]))
        pairs = zip(ours, self.layers, strict=True)
        return torch.stack([compare(own, teacher.layer(number)) for own, number in pairs]).mean()


def _projection(student: int, teacher: int) -> nn.Module:
    if student == teacher:
        return nn.Identity()
    projection = nn.Linear(student, teacher, bias=False)
    nn.init.orthogonal_(projection.weight)
    return projection


def check_blocks(model: Any, terms: Sequence[Term], spec: str) -> None:
    """Raise :class:`ConfigError` where a term compares layers and the student has none."""
    inner = [objective.name for _, objective in terms if objective.on != "predictions"]
    if inner and not encoder.has_blocks(model):
        raise ConfigError(f"--objective {inner[0]}: compares layers, and a student of the kind {spec} has none like it")
