"""The registry: what should be in each knowledge base, and what is."""
