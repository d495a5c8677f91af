"""Load a model by name: from the Hub, a folder, a GGUF file, PyPI, or the built-in one."""
