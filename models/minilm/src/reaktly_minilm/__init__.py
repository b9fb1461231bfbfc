"""Data of the local embedding model: `model.onnx` and `tokenizer.json` lie in this package."""
