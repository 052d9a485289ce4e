"""The page's 16-bit samples and WAV files."""

import base64
import io
import wave
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playwright.sync_api import Page


def test_every_value_comes_back(blank_page: "Page") -> None:
    """All 65,536 of them, so a download holds what the server sent."""
    assert blank_page.evaluate("""async () => {
      const { fromPcm16, toPcm16 } = await import("/page/wav.js");
      const bytes = new Uint8Array(Uint16Array.from({ length: 65536 }, (_, i) => i).buffer);
      const samples = fromPcm16(bytes);
      const again = toPcm16(samples);
      return [
        again.length,
        bytes.every((each, i) => each === again[i]),
        samples.reduce((least, each) => Math.min(least, each)),
        samples[32767] * 32768,
      ];
    }""") == [131072, True, -1, 32767]


def test_what_is_beyond_full_scale_is_clipped(blank_page: "Page") -> None:
    """It does not turn over to the other sign."""
    assert blank_page.evaluate("""async () => {
      const { toPcm16 } = await import("/page/wav.js");
      return [...new Int16Array(toPcm16(Float32Array.of(1, 1.5, -1, -2, 0)).buffer)];
    }""") == [32767, 32767, -32768, -32768, 0]


def test_a_stream_may_be_cut_anywhere(blank_page: "Page") -> None:
    """A sample whose bytes come in two parts is read once the second is there."""
    assert blank_page.evaluate("""async () => {
      const { fromPcm16, Pcm16Reader } = await import("/page/wav.js");
      const bytes = Uint8Array.from({ length: 1000 }, (_, i) => (37 * i) % 256);
      const reader = new Pcm16Reader();
      const read = [];
      for (let start = 0, size = 0; start < bytes.length; start += size, size = (size + 1) % 8) {
        read.push(...reader.read(bytes.subarray(start, start + size)));
      }
      return [read.length, read.join() === fromPcm16(bytes).join()];
    }""") == [500, True]


def test_a_wav_file_is_one(blank_page: "Page") -> None:
    """Another reader finds the samples, their rate and nothing after them."""
    file = blank_page.evaluate("""async () => {
      const { wavFile } = await import("/page/wav.js");
      const blob = wavFile(Float32Array.of(0, 0.5, -1, 1 / 32768), 24000);
      return [blob.type, btoa(String.fromCharCode(...new Uint8Array(await blob.arrayBuffer())))];
    }""")
    assert file[0] == "audio/wav"
    data = base64.b64decode(file[1])
    assert int.from_bytes(data[4:8], "little") == len(data) - 8
    with wave.open(io.BytesIO(data)) as reader:
        assert reader.getparams()[:4] == (1, 2, 24000, 4)
        assert reader.readframes(9) == b"\x00\x00\x00\x40\x00\x80\x01\x00"
