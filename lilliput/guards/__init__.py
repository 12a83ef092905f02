"""What a bundle may hold: checks of files by their bytes, before a library with a parser of its own sees them.

Hashes prove that a file is the one that was listed, not that it means well. Each module here reads one kind of file
with plain Python and NumPy, refuses whatever Lilliput never writes, and bounds what the rest can cost. A refusal is an
`lilliput.errors.IntegrityError` that names the file and the part of it.
"""
