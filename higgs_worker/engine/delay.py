"""The delay pattern: codebook k runs k columns behind codebook 0.

With the stream BOS and EOS around it, frame f (0-based) of codebook k is in column f + 1 + k. So F
frames make F + K + 1 columns, and frame f is complete once column f + K exists.

Host-side, over whole clips. The step-wise form on the device is `Columns.draw`;
`tests/engine/test_exact.py` compares the two.
Source: transformers `HiggsAudioV2Processor.build_delay_pattern`.
"""

import numpy as np

from higgs_worker.engine.sequence import Codes


def delay(codes: Codes, bos_id: int, eos_id: int) -> Codes:
    """Lay out frames as columns, stream BOS and EOS included.

    Args:
        codes: [F, K].

    Returns:
        [F + K + 1, K].
    """
    num_frames, num_codebooks = codes.shape
    columns = np.full((num_frames + num_codebooks + 1, num_codebooks), eos_id, dtype=np.int64)
    for k in range(num_codebooks):
        columns[: k + 1, k] = bos_id
        columns[k + 1 : k + 1 + num_frames, k] = codes[:, k]
    return columns


def undelay(columns: Codes, bos_id: int, eos_id: int) -> Codes:
    """Return the complete frames of generated columns, by the tail rule.

    The first frame that holds an end code in any codebook ends the clip. Upstream clips end codes
    to the largest code instead, which the codec renders as a click.

    Args:
        columns: [N, K], the first one all stream BOS.

    Returns:
        [F, K]; F is 0 when no frame is complete.
    """
    num_columns, num_codebooks = columns.shape
    num_frames = max(0, num_columns - num_codebooks)
    codes = np.stack([columns[k + 1 : k + 1 + num_frames, k] for k in range(num_codebooks)], axis=1)
    ended = (codes == eos_id).any(axis=1)
    codes = codes[: int(ended.argmax())] if ended.any() else codes
    if (codes == bos_id).any():
        raise ValueError("stream BOS inside the audio: the sampler must not draw it after the ramp")
    return codes
