"""Sound as numbers: read what callers send, shape it, encode what they get. It knows no model."""
