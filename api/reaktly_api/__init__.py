"""The HTTP door: documented dialects on one knowledge base."""
