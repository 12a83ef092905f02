"""Students with the teacher's architecture: fewer layers, and narrower ones."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor

from lilliput import encoder
from lilliput.compress import narrowing
from lilliput.compress.mapping import evenly_spaced
from lilliput.compress.reconstruct import reconstruct
from lilliput.errors import ConfigError
from lilliput.types import EncoderShape, PrunePlan

KIND = "transformer"

_KEYS = ("layers", "hidden", "heads", "ffn")


@dataclass(frozen=True)
class Options:
    """A shape as a user gives it: ``None`` where it is to be the teacher's.

    Without ``heads`` they keep the size that they have in the teacher. ``text`` is what the user wrote.
    """

    text: str
    layers: int
    hidden: int | None = None
    heads: int | None = None
    ffn: int | None = None


def parse(text: str) -> Options:
    """Read ``layers=2`` or ``layers=2,hidden=192,heads=6,ffn=768``; all but ``layers`` can be left out.

    Raises:
        ConfigError: the text is not of that form.
    """
    pairs = [tuple(part.strip().split("=", 1)) for part in text.split(",")]
    names = [pair[0] for pair in pairs]
    right = all(len(pair) == 2 and _is_number(pair[1]) and pair[0] in _KEYS for pair in pairs)
    if not right or "layers" not in names or len(set(names)) < len(names):
        raise ConfigError(
            f"--student {text}: must be layers=N, and if it is to be narrower than the teacher hidden=N, heads=N or "
            "ffn=N, with each N at least 1; for example layers=3 or layers=2,hidden=192,heads=6,ffn=768"
        )
    return Options(text, **{pair[0]: int(pair[1]) for pair in pairs})


def shape_for(options: Options, source: Any) -> EncoderShape:
    """The shape of a student that starts from ``source``.

    Raises:
        ConfigError: the student would be larger than ``source`` somewhere, its heads don't fit its width, or it would
            be narrower than a ``source`` whose blocks have unequal shapes.
    """
    largest, flag = encoder.shape_of(source), f"--student {options.text}"
    for name, there, what in (
        (options.layers, largest.layers, "layers"),
        (options.hidden, largest.hidden, "dimensions (hidden)"),
        (options.heads, largest.heads, "attention heads"),
        (options.ffn, largest.ffn, "feed-forward neurons (ffn)"),
    ):
        if name is not None and name > there:
            raise ConfigError(f"{flag}: the teacher has only {there} {what}")
    if encoder.is_per_block(source):
        if (options.hidden, options.heads, options.ffn) != (None, None, None):
            raise ConfigError(
                f"{flag}: the blocks that it starts from were pruned to unequal shapes, so that only layers can be "
                "given; to make them narrower, use 'lilliput prune'"
            )
        return replace(largest, layers=options.layers)
    hidden, size = options.hidden or largest.hidden, largest.hidden // largest.heads
    heads = options.heads or hidden // size
    fitting = [n for n in range(1, largest.heads + 1) if hidden % n == 0 and hidden // n <= size]
    possible = f"heads can be {', '.join(map(str, fitting))}" if fitting else f"make hidden a multiple of {size}"
    if options.heads is None and hidden % size:
        raise ConfigError(f"{flag}: hidden={hidden} is no multiple of {size}, the teacher's size of a head; {possible}")
    if heads not in fitting:
        raise ConfigError(
            f"{flag}: {hidden} dimensions are not {heads} heads of at most {size}, the teacher's size; {possible}"
        )
    narrow_tables = encoder.ends_of(source).widening
    if narrow_tables is not None and hidden == narrow_tables.in_features:
        raise ConfigError(
            f"{flag}: hidden={hidden} is the width of the teacher's embeddings, and this architecture has no layer "
            "between the two then; choose another width"
        )
    return EncoderShape(options.layers, hidden, heads, options.ffn or largest.ffn, largest.vocabulary)


def build(
    source: Any,
    tokenizer: Any,
    options: Options,
    seed: int,
    initial_layers: Sequence[int] | None = None,
    batches: Iterable[Mapping[str, Tensor]] | None = None,
) -> tuple[Any, tuple[int, ...]]:
    """A student that starts from chosen blocks of ``source``, and the numbers of those blocks.

    Nothing is drawn at random: of dimensions, heads and neurons the most important are kept (see `narrowing`). With
    ``batches`` what stays is fitted to what ``source`` computes on them (see `reconstruct`), unless its heads are
    smaller or its blocks in another order.

    Raises:
        ConfigError: a shape that ``source`` can't give, or ``initial_layers`` that don't fit the shape.
    """
    shape, available = shape_for(options, source), encoder.shape_of(source)
    chosen = tuple(evenly_spaced(shape.layers, available.layers) if initial_layers is None else initial_layers)
    if len(chosen) != shape.layers:
        raise ConfigError(
            f"--initial-layers {','.join(map(str, chosen))}: must name {shape.layers} layers, as --student does"
        )
    student = encoder.keep_layers(source, chosen)
    same = encoder.is_per_block(source) or shape == encoder.shape_of(student)
    if batches is not None and shape != available and _is_a_part(shape, chosen, source):
        kept = PrunePlan.whole(encoder.block_shapes_of(student)) if same else narrowing.plan(student, shape)
        return reconstruct(source, _in_source(kept, chosen, available.layers), batches), chosen
    return (student if same else narrowing.narrow(student, shape)), chosen


def _is_a_part(shape: EncoderShape, chosen: Sequence[int], source: Any) -> bool:
    """Whether a student keeps whole heads of ``source``, and its blocks in their order: what a plan can say."""
    return shape.hidden // shape.heads == encoder.head_size_of(source) and sorted(set(chosen)) == list(chosen)


def _in_source(plan: PrunePlan, chosen: Sequence[int], layers: int) -> PrunePlan:
    """A plan for the blocks ``chosen``, as one for all ``layers`` blocks of the model that they are from."""
    place = {layer: number for number, layer in enumerate(chosen)}

    def spread(parts: Sequence[tuple[int, ...]]) -> tuple[tuple[int, ...], ...]:
        return tuple(parts[place[layer]] if layer in place else () for layer in range(layers))

    return replace(plan, heads=spread(plan.heads), neurons=spread(plan.neurons))


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdecimal() and int(text) >= 1
