"""Serve Higgs Audio V2 text-to-speech; docs/architecture.md shows the packages."""
