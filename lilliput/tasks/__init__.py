"""One file a task: inputs, outputs, post-processing in numpy, metric names."""
