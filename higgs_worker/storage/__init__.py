"""Audio in an S3 bucket."""
