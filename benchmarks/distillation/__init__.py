"""Measurements of distillation: what `benchmarks/results/distill.json` is made of."""
