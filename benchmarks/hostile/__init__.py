"""Bundles that an enemy made, each with a manifest whose hashes and digest are right, and what becomes of them.

One file a family of attacks; an attack is a function that changes a small honest bundle. Some attacks have no place
here because nothing but trust in the author helps: weights trained to lie, or a slow model that is honestly large.
"""
