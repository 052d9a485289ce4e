"""The worker at its real size, without the published weights: `python -m benchmarks.real_size`.

It builds both checkpoints with the published configuration, names of tensors and sizes of files,
random weights and Llama 3's vocabulary (`checkpoint.py`, `vocabulary.py`), serves them as the hub
does (`hub.py`), and runs the real process on an empty volume, on a full one, and with a new voice
(`worker.py`). Then it compares with transformers. The plan is in `plan.py`, and what is measured in
`parts/`; processes, rows and report are those of `benchmarks.gpu`.
"""
