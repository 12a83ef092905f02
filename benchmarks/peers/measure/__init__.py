"""Peers in environments of their own, measured in turns with our models on the same test texts."""
