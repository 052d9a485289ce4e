"""What differs between languages when text is written out."""
