"""The commands of `higgs-worker`, one per file."""
