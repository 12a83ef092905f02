"""What quantization promises, and the commands that measure it."""
