"""What is measured at the real size, a module per part."""
