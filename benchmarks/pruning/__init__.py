"""What pruning reaches on the embedded data, and what others reach with the same recovery."""
