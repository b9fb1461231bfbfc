"""Title, summary and tags for documents whose owners left them out."""
