"""Load points that other tools made: GGUF files and folders of safetensors."""
