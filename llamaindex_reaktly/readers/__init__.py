"""Documents for LlamaIndex, out of knowledge bases and exports."""
