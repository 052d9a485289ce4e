"""The codec: 24 kHz waveform <-> codes. Dimension letters are listed in `higgs_worker.engine`."""
