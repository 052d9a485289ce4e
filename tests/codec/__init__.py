"""The codec, compared with transformers'."""
