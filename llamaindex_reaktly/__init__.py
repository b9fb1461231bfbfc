"""A knowledge base for AI assistants, and the LlamaIndex pieces it is made of."""
