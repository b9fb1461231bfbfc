"""Stores: where nodes, vectors and terms live."""
