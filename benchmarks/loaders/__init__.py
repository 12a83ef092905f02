"""A bundle in the loaders of other libraries: each in an environment of its own, compared with `lilliput.load`."""
