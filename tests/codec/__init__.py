"""The codec, held against transformers."""
