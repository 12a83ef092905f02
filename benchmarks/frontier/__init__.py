"""The frontier of everything Lilliput makes, on the embedded data: accuracy that is kept against speed and size."""
