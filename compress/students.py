"""What a student looks like, and the weights it starts from."""

from __future__ import annotations

from typing import Any

from lilliput import encoder
from lilliput.errors import ConfigError


def parse_shape(spec: str) -> int:
    """Layers of the student that ``--student`` asks for, as in ``layers=3``.

    Raises:
        ConfigError: the text is not of that form.
    """
    key, _, value = spec.strip().partition("=")
    if key != "layers" or not value.isdecimal() or int(value) < 1:
        raise ConfigError(f"--student {spec}: must be layers=N with N at least 1, for example layers=3")
    return int(value)


def evenly_spaced(student_layers: int, teacher_layers: int) -> tuple[int, ...]:
    """Teacher blocks for a student to start from: the middle one of each of ``student_layers`` equal parts.

    For 2 of 6 blocks that is 1 and 4, for 3 of 6 it is 1, 3 and 5. Keeping the ends instead (0 and 5), or the first
    blocks, gave worse 2-layer students (see docs/decisions.md).
    """
    return tuple((2 * i + 1) * teacher_layers // (2 * student_layers) for i in range(student_layers))


def from_teacher(teacher: Any, spec: str, initial_layers: tuple[int, ...] | None) -> Any:
    """A student of the shape ``spec``: the teacher's embeddings and head, and some of its blocks.

    Raises:
        ConfigError: more layers than the teacher has, or ``initial_layers`` that don't fit the shape.
    """
    layers = parse_shape(spec)
    available = encoder.shape_of(teacher).layers
    if layers > available:
        raise ConfigError(f"--student {spec}: the teacher has only {available} layers")
    chosen = initial_layers if initial_layers is not None else evenly_spaced(layers, available)
    if len(chosen) != layers:
        raise ConfigError(
            f"--initial-layers {','.join(map(str, chosen))}: must name {layers} layers, as --student does"
        )
    return encoder.keep_layers(teacher, chosen)
