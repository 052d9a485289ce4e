"""The rules of each language, made by its `language_rules`."""
