"""The HTTP server under load, and what it costs, as ratios of one run on one machine.

    python -m benchmarks.http [--model demo] [--clients 64] [--rounds 4]

The server is a process of its own; clients read as listeners do. The last line is JSON.
"""
