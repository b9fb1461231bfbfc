"""Retrieval: from a query to ranked documents."""
