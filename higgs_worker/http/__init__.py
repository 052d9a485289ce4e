"""The HTTP server: OpenAI's routes, health, metrics; for load balancers and any machine."""
