"""Where audio goes: into the result, a bucket, a file, streamed pieces."""
