"""Write a text as it is spoken: numbers, dates, units and symbols in words."""
