"""Ingestion: making the index agree with the registry."""
