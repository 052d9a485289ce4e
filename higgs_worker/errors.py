"""Every error a caller or an operator can meet.

    WorkerError
    ├── InvalidRequest        invalid_request        the job itself is wrong
    │   ├── CredentialsRefused  credentials_refused  the job carries credentials
    │   ├── InvalidAudio      invalid_audio          a recording that cannot serve as a voice
    │   ├── KeyTaken          key_taken              an object of that key is there already
    │   ├── UnusableReference  unusable_reference    a recording that cannot be had from there
    │   └── UnknownVoice      unknown_voice          no voice of that name
    ├── PromptTooLong         prompt_too_long        text and audio do not fit into one sequence
    ├── InvalidSettings       invalid_settings       an environment variable is wrong
    ├── WeightsNotFound       weights_not_found      no checkpoint where one was promised
    ├── WeightsRefused        weights_refused        the hub does not give them to this token
    ├── WeightsUnavailable    weights_unavailable    they cannot be pulled now; later they may
    ├── InvalidCheckpoint     invalid_checkpoint     a checkpoint that cannot be the model
    ├── DamagedVoice          damaged_voice          a voice's file on the volume cannot be read
    ├── VolumeUnusable        volume_unusable        the volume cannot be written
    ├── QueueFull             queue_full             more waits than the worker takes
    ├── DeadlineExceeded      deadline_exceeded      the time limit came first
    ├── Cancelled             cancelled              the caller changed their mind
    ├── EngineFailed          engine_failed          the device failed on this one; others go on
    ├── EngineBroken          engine_broken          the device is gone; the worker must be replaced
    ├── WorkerStopping        worker_stopping        taken away before it was done; send it again
    ├── BatchFailed           batch_failed           none of a batch's texts could be spoken
    ├── NoSound               no_sound               generation gave no audio
    ├── StorageFailed         storage_failed         the audio could not be uploaded
    ├── ResultTooLarge        result_too_large       more bytes than the platform takes
    ├── InvalidDeployment     invalid_deployment     what is to be deployed cannot be an endpoint
    ├── DeploymentFailed      deployment_failed      the endpoint is there and does not work
    ├── PlatformRefused       platform_refused       RunPod's API says no
    ├── PlatformUnavailable   platform_unavailable   RunPod's API cannot be reached or understood
    └── InternalError         internal_error         a defect of ours; the log has the traceback

The text is for the reader who can do something about it: it says what is wrong and what to do.
It never repeats a secret and never holds a traceback.
"""

from collections.abc import Mapping
from typing import Any, ClassVar


class WorkerError(Exception):
    """A failure with a stable code and a sentence that says what to do."""

    code: ClassVar[str] = "internal_error"

    def __init__(self, message: str, *, details: Mapping[str, Any] | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.details: dict[str, Any] = dict(details or {})


class InvalidRequest(WorkerError):
    """The caller sent something that no retry can make right."""

    code = "invalid_request"


class CredentialsRefused(InvalidRequest):
    """The job carries credentials; they belong into the endpoint's environment."""

    code = "credentials_refused"


class InvalidAudio(InvalidRequest):
    """The audio that the caller sent is no audio, or not of the kind and length that is taken."""

    code = "invalid_audio"


class KeyTaken(InvalidRequest):
    """The storage holds an object of this key already, and it is not replaced."""

    code = "key_taken"


class UnusableReference(InvalidRequest):
    """A recording cannot be had from where the caller says it is."""

    code = "unusable_reference"


class UnknownVoice(InvalidRequest):
    """No voice has this name."""

    code = "unknown_voice"


class PromptTooLong(WorkerError):
    """Prompt and requested audio need more positions than a slot has."""

    code = "prompt_too_long"


class InvalidSettings(WorkerError):
    """An environment variable cannot be used as it is."""

    code = "invalid_settings"


class WeightsNotFound(WorkerError):
    """The checkpoint is not where the settings say."""

    code = "weights_not_found"


class WeightsRefused(WorkerError):
    """The hub has the checkpoint, but does not give it to whoever asks like this."""

    code = "weights_refused"


class WeightsUnavailable(WorkerError):
    """The network or the hub did not give the checkpoint; another attempt may get it."""

    code = "weights_unavailable"


class InvalidCheckpoint(WorkerError):
    """A file is there, but it is damaged or belongs to another model."""

    code = "invalid_checkpoint"


class DamagedVoice(WorkerError):
    """The file of one voice is not what was written; the other voices are not touched."""

    code = "damaged_voice"


class VolumeUnusable(WorkerError):
    """The volume refuses what has to be written to it."""

    code = "volume_unusable"


class QueueFull(WorkerError):
    """As many sequences wait as may."""

    code = "queue_full"


class DeadlineExceeded(WorkerError):
    """The time limit of a request came before its end."""

    code = "deadline_exceeded"


class Cancelled(WorkerError):
    """The request was cancelled before its end."""

    code = "cancelled"


class EngineFailed(WorkerError):
    """The device failed while it worked on this sequence; others were not touched."""

    code = "engine_failed"


class EngineBroken(WorkerError):
    """Nothing can be generated any more in this process."""

    code = "engine_broken"


class WorkerStopping(WorkerError):
    """The platform takes this worker away before it has finished; another one will do it."""

    code = "worker_stopping"


class BatchFailed(WorkerError):
    """None of a batch's texts could be spoken; the details say why, text by text."""

    code = "batch_failed"


class NoSound(WorkerError):
    """The model ended before it gave a single frame."""

    code = "no_sound"


class StorageFailed(WorkerError):
    """The object storage did not take the audio, which itself is fine."""

    code = "storage_failed"


class ResultTooLarge(WorkerError):
    """The result exceeds what the platform accepts."""

    code = "result_too_large"


class InvalidDeployment(WorkerError):
    """What was asked to be deployed cannot be an endpoint."""

    code = "invalid_deployment"


class DeploymentFailed(WorkerError):
    """The endpoint is there and does not work."""

    code = "deployment_failed"


class PlatformRefused(WorkerError):
    """RunPod's API says no; asking again would not help."""

    code = "platform_refused"


class PlatformUnavailable(WorkerError):
    """RunPod's API cannot be reached, or not understood."""

    code = "platform_unavailable"


class InternalError(WorkerError):
    """Anything unforeseen; details are in the log, not in the reply."""

    code = "internal_error"
