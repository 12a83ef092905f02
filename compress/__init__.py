"""Students from teachers: distillation, its objectives, and how a student begins."""

from lilliput.compress.distillation import distill

__all__ = ["distill"]
