"""Measurements of training: what `benchmarks/results/train.json` is made of."""
