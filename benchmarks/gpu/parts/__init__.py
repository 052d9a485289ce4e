"""What is measured: a module per part, a function per table."""
