"""Text before it is spoken: markup, language, normal form, chunks. It knows no model."""
