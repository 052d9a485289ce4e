"""What a caller sends and gets back: requests, results, their JSON. No I/O."""
