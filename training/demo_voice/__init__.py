"""The recipe of the embedded voice: data, codes, codec, language model, export."""
