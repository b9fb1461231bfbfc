"""Content: from what was sent to clean Markdown."""
