"""Smaller models: distillation, its objectives, and how a student begins; pruning; quantization."""

import lilliput.architectures  # noqa: F401  registers what pruned and distilled models may be
from lilliput.compress.distillation import distill
from lilliput.compress.pruning import prune
from lilliput.compress.quantization import quantize_bundle

__all__ = ["distill", "prune", "quantize_bundle"]
