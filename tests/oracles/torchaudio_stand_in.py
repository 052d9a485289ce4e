"""A stand-in for torchaudio: as much of it as transformers' codec needs to run.

The real one has compiled parts that do not load beside a CPU build of torch. All that is called of
it is `functional.resample`, for which our own stands in; `tests/codec/test_resample.py` holds
that against values of the real one.
"""

from types import SimpleNamespace

from higgs_worker.codec.resample import resample

functional = SimpleNamespace(resample=resample)
