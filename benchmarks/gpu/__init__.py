"""One command that measures everything worth knowing on a GPU: `python -m benchmarks.gpu`.

The command plans (`plan.py`), runs each part in a process of its own (`processes.py`, `part.py`)
and reports (`report.py`). What is measured is in `parts/`, a module per part: every function listed
in its `MEASUREMENTS` makes one table, row by row. The sizes are in `scale.py`.

It needs torch, numpy, safetensors and this repository; fused kernels need triton, the part "parity"
transformers and pytest. Nothing is installed and nothing downloaded.
"""
