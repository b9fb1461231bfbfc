"""Pure-ASGI middleware, outermost first: request id, metrics, errors, body limit."""
