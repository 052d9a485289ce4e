"""Deploying: create or update an endpoint on RunPod from its file, and try it."""
