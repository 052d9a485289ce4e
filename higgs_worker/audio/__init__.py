"""PCM: read what callers send, change it, encode what they get back."""
