"""The voices of a worker: those of the volume, and what makes new ones of recordings."""

import threading
from collections.abc import Callable
from pathlib import Path

from higgs_worker.audio.reader import RecordingReader
from higgs_worker.checkpoints import locate
from higgs_worker.settings import Settings
from higgs_worker.voices.library import PRESETS, VoiceLibrary
from higgs_worker.voices.references import References
from higgs_worker.weights.source import LocatedCheckpoint


def voice_library(settings: Settings) -> VoiceLibrary:
    """Return the voices of the volume and those that are built in."""
    return VoiceLibrary(settings.volume / "voices", presets=PRESETS)


class ReferenceVoices:
    """The reference voices of a worker, with its only encoder, whoever asks for them.

    The memory plan has room for one, and it stays when it has been loaded.
    """

    def __init__(
        self, settings: Settings, on_lookup: Callable[[bool], None] = lambda _: None
    ) -> None:
        """
        Args:
            settings: what the operator chose.
            on_lookup: is told of each recording whether its codes were known.
        """
        self._settings = settings
        self._on_lookup = on_lookup
        self._reader = RecordingReader()
        self._making = threading.Lock()
        self._codec: Path | None = None
        self._made: References | None = None

    def load(self, codec: LocatedCheckpoint | None = None) -> References:
        """Return the voices; the encoder is loaded when the first new one is encoded.

        Args:
            codec: where it is, when that is known already.

        Raises:
            WeightsNotFound: the codec is not where the settings say.
            WeightsRefused, WeightsUnavailable, VolumeUnusable: it cannot be pulled.
            InvalidCheckpoint: it belongs to another model.
            InvalidSettings: the device is not there.
        """
        if codec is None and self._made is not None:
            return self._made
        directory = (codec or locate("codec", self._settings)).directory
        with self._making:
            if self._made is None or self._codec != directory:
                self._made, self._codec = self._make(directory), directory
            return self._made

    def _make(self, codec: Path) -> References:
        from higgs_worker.codec.encoder_loader import LazyEncoder, codec_id
        from higgs_worker.cuda import device_named

        return References(
            voice_library(self._settings),
            LazyEncoder(codec, device_named(self._settings.device)),
            codec_id(codec),
            max_s=self._settings.max_reference_s,
            max_bytes=self._settings.max_reference_bytes,
            read=self._reader.read,
            allowed_hosts=self._settings.allowed_hosts,
            on_lookup=self._on_lookup,
        )
