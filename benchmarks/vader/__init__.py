"""The table of VADER's paper, measured again: VADER as it is today, and our models trained in each domain."""
