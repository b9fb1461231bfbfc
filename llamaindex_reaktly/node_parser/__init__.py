"""From clean Markdown to nodes: sections cut to the embedder's budget."""
