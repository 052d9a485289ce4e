"""A stand-in for torchaudio with the one function that transformers' codec calls.

The real one has compiled parts that do not load beside a CPU build of torch. Our own resampler
stands in for `functional.resample`; `tests/codec/test_resample.py` compares it with values of the
real one.
"""

from types import SimpleNamespace

from higgs_worker.codec.resample import resample

functional = SimpleNamespace(resample=resample)
