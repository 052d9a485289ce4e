"""Sound: what is read, shaped and encoded is what is heard."""
