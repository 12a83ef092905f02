"""Accuracy and latency of bundles and of what users would pick instead, measured in one run."""
