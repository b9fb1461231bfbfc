"""Names under which content's facts travel in a LlamaIndex node's metadata."""

TITLE = "title"
CONTENT_TYPE = "content_type"
LANGUAGE = "language"
DESCRIPTION = "description"
URL = "url"
HEADINGS = "headings"
EMBEDDING_CONTEXT = "embedding_context"
