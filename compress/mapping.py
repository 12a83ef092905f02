"""Which of the teacher's blocks each of the student's blocks learns from. Blocks are counted from 0."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lilliput.errors import ConfigError

LEARNED = "learned"
NAMES = ("uniform", "skip", "last", LEARNED)

RELATIVE_TEMPERATURE = 0.5
"""tau of :class:`LearnedMapping`."""
SLOWEST_RATE = 0.01
"""A running mean of losses follows about the last 100 batches."""


def evenly_spaced(student_layers: int, teacher_layers: int) -> tuple[int, ...]:
    """Teacher blocks for a student to start from: the middle one of each of ``student_layers`` equal parts.

    For 2 of 6 blocks that is 1 and 4, for 3 of 6 it is 1, 3 and 5. Keeping the ends instead (0 and 5), or the first
    blocks, gave worse 2-layer students (see docs/decisions.md).
    """
    return tuple((2 * i + 1) * teacher_layers // (2 * student_layers) for i in range(student_layers))


def layer_mapping(spec: str, student_layers: int, teacher_layers: int) -> tuple[int, ...]:
    """The teacher's block for each of the student's.

    - ``uniform``: the middle block of each of ``student_layers`` equal parts; 1 and 4 for 2 of 6
    - ``skip``: the last block of each part; 2 and 5 (PKD-skip, TinyBERT)
    - ``last``: the last ``student_layers`` blocks; 4 and 5 (PKD-last)
    - ``1,4``: those, in any order, one for each of the student's blocks
    - ``learned``: as ``uniform``, where a :class:`LearnedMapping` begins

    References: Sun, Cheng, Gan & Liu, "Patient Knowledge Distillation for BERT Model Compression", EMNLP 2019, section
    3.2. Jiao et al., "TinyBERT", Findings of EMNLP 2020, where g(m) = 3m for 4 of 12.

    Raises:
        ConfigError: unknown, or it does not fit the numbers of blocks.
    """
    if spec in ("uniform", LEARNED):
        return evenly_spaced(student_layers, teacher_layers)
    if spec == "skip":
        # Rounded up, so that it is the block in which the part ends where the parts are not whole blocks.
        return tuple(-(-(i + 1) * teacher_layers // student_layers) - 1 for i in range(student_layers))
    if spec == "last":
        if student_layers > teacher_layers:
            raise ConfigError(f"--mapping last: the student has {student_layers} layers, the teacher {teacher_layers}")
        return tuple(range(teacher_layers - student_layers, teacher_layers))
    return _explicit(spec, student_layers, teacher_layers)


def _numbers(spec: str) -> tuple[int, ...]:
    numbers = [number.strip() for number in spec.split(",")]
    if not all(number.isascii() and number.isdecimal() for number in numbers):
        raise ConfigError(
            f"--mapping {spec}: unknown; known are {', '.join(NAMES)}, or numbers of the teacher's layers, as in 1,4"
        )
    return tuple(map(int, numbers))


def _explicit(spec: str, student_layers: int, teacher_layers: int) -> tuple[int, ...]:
    layers = _numbers(spec)
    if len(layers) != student_layers:
        raise ConfigError(f"--mapping {spec}: must name {student_layers} layers, one for each of the student's")
    if max(layers) >= teacher_layers:
        raise ConfigError(f"--mapping {spec}: the teacher's layers are numbered 0 to {teacher_layers - 1}")
    return layers


def check(spec: str) -> None:
    """Raise :class:`ConfigError` where ``spec`` is no mapping, whatever the numbers of blocks are."""
    if spec not in NAMES:
        _numbers(spec)


class LearnedMapping(nn.Module):
    """Every student block learns from all of the teacher's, most from those near its place and easy for it.

    Equation:
        L = 1/S sum_i sum_j w_ij l_ij,  w_i = softmax(alpha_i),  alpha_ij = -|j - g(i)| - m_ij / (tau mean_j m_ij)

    for l_ij the loss of student block i against teacher block j, m_ij its running mean, g the uniform mapping and tau a
    relative temperature. The weights have no gradient. They are the solution of

        min over w_i of  sum_j w_ij c_ij + tau KL(w_i || prior_i),  c_ij = m_ij / mean_j m_ij,
        prior_i = softmax_j(-|j - g(i)|)

    Weights that are trained freely end on the one block with the smallest loss, whatever it teaches. The divergence
    prevents this: a block's place counts, and being cheaper by tau times the mean loss weighs as much as being one
    block nearer. Losses are taken relative to their mean, so tau means the same for every objective and all through
    training.

    The closed form needs no optimizer: no learning rate of its own, no weight decay, nothing to clip. With
    :attr:`training` off the running means stay as they are. They are saved with the module's state.

    References: Li et al., "BERT-EMD: Many-to-Many Layer Mapping for BERT Compression with Earth Mover's Distance",
    EMNLP 2020: weights that follow from the costs, without gradient. Instead of their constraints of transport a
    divergence regularises, as the entropy does in Cuturi, "Sinkhorn Distances", NeurIPS 2013.
    """

    log_prior: Tensor
    mean_losses: Tensor
    batches: Tensor

    def __init__(
        self, student_layers: int, teacher_layers: int, relative_temperature: float = RELATIVE_TEMPERATURE
    ) -> None:
        super().__init__()
        self.relative_temperature = relative_temperature
        places = torch.tensor(evenly_spaced(student_layers, teacher_layers))[:, None]  # [S, 1]
        distance = (torch.arange(teacher_layers) - places).abs()  # [S, T]
        self.register_buffer("log_prior", (-distance).float().log_softmax(dim=-1), persistent=False)
        self.register_buffer("mean_losses", torch.zeros(student_layers, teacher_layers))
        self.register_buffer("batches", torch.zeros(()))

    def weights(self) -> Tensor:
        """w, ``[S, T]`` for S student and T teacher blocks; each row has sum 1."""
        tiny = torch.finfo(self.mean_losses.dtype).tiny
        relative = self.mean_losses / self.mean_losses.mean(dim=-1, keepdim=True).clamp(min=tiny)
        return (self.log_prior - relative / self.relative_temperature).softmax(dim=-1)

    def forward(self, losses: Tensor) -> Tensor:
        """Scalar loss of a batch.

        Args:
            losses: float32 ``[S, T]``, each at least 0.
        """
        if self.training:
            self._follow(losses.detach().to(self.mean_losses.dtype))
        return (self.weights().to(losses.dtype) * losses).sum(dim=-1).mean()

    def _follow(self, losses: Tensor) -> None:
        # A batch that overflowed in half precision is skipped by the optimizer; it must not stay in the means.
        usable = losses.isfinite().all()
        self.batches += usable
        rate = (1 / self.batches.clamp(min=1)).clamp(min=SLOWEST_RATE)
        self.mean_losses.lerp_(torch.where(usable, losses, self.mean_losses), rate)
