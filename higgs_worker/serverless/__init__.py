"""RunPod serverless: a job in, its output or its pieces out."""
