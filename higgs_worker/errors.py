"""Every error that a caller or an operator can get.

    WorkerError
    ├── InvalidRequest        invalid_request        the job itself is wrong
    │   ├── CredentialsRefused  credentials_refused  the job carries credentials
    │   ├── InvalidAudio      invalid_audio          a recording that cannot serve as a voice
    │   ├── KeyTaken          key_taken              an object of that key is there already
    │   ├── UnusableReference  unusable_reference    a recording that cannot be obtained
    │   └── UnknownVoice      unknown_voice          no voice of that name
    ├── AccessRefused         invalid_api_key        an HTTP request without the right key
    ├── RequestRefused        request_refused        an HTTP request that is no good as such
    ├── PromptTooLong         prompt_too_long        text and audio do not fit into one sequence
    ├── InvalidSettings       invalid_settings       an environment variable is wrong
    ├── WeightsNotFound       weights_not_found      no checkpoint where the settings point to
    ├── WeightsRefused        weights_refused        the hub does not give them to this token
    ├── WeightsUnavailable    weights_unavailable    they cannot be pulled now; a retry may help
    ├── InvalidCheckpoint     invalid_checkpoint     a file that is damaged or not the model's
    ├── DamagedVoice          damaged_voice          a voice's file on the volume cannot be read
    ├── VolumeUnusable        volume_unusable        the volume cannot be written
    ├── QueueFull             queue_full             too many sequences wait
    ├── DeadlineExceeded      deadline_exceeded      the time limit has passed
    ├── Cancelled             cancelled              the caller cancelled
    ├── EngineFailed          engine_failed          the device failed on this sequence only
    ├── EngineBroken          engine_broken          the device failed for good; replace the worker
    ├── WorkerStopping        worker_stopping        the worker stops before the job is done; retry
    ├── BatchFailed           batch_failed           all texts of a batch failed
    ├── NoSound               no_sound               the model gave no audio
    ├── StorageFailed         storage_failed         the audio could not be uploaded
    ├── ResultTooLarge        result_too_large       more bytes than the platform accepts
    ├── InvalidDeployment     invalid_deployment     the description of an endpoint is wrong
    ├── DeploymentFailed      deployment_failed      the endpoint exists and does not work
    ├── PlatformRefused       platform_refused       RunPod's API says no
    ├── PlatformUnavailable   platform_unavailable   RunPod's API cannot be reached or understood
    └── InternalError         internal_error         a defect of ours; the log has the traceback

The message says what is wrong and what to do about it, to the reader who can. It never holds a
secret or a traceback. One that may quote the caller goes to the caller alone, and to no log.
"""

from collections.abc import Mapping
from typing import Any, ClassVar


class WorkerError(Exception):
    """A failure with a stable code and a message that says what to do."""

    code: ClassVar[str] = "internal_error"
    quotes_caller: ClassVar[bool] = False
    """Whether the message may repeat what a caller wrote."""

    def __init__(self, message: str, *, details: Mapping[str, Any] | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.details: dict[str, Any] = dict(details or {})


class InvalidRequest(WorkerError):
    """The job itself is wrong; no retry helps."""

    code = "invalid_request"
    quotes_caller = True


class CredentialsRefused(InvalidRequest):
    """The job carries credentials; they belong in the endpoint's environment."""

    code = "credentials_refused"


class InvalidAudio(InvalidRequest):
    """The caller's recording is not audio, or cannot serve as a voice."""

    code = "invalid_audio"


class KeyTaken(InvalidRequest):
    """The storage already holds an object with this key, which is not replaced."""

    code = "key_taken"


class UnusableReference(InvalidRequest):
    """A recording cannot be downloaded or decoded from what the caller sent."""

    code = "unusable_reference"


class UnknownVoice(InvalidRequest):
    """No voice has this name."""

    code = "unknown_voice"


class AccessRefused(WorkerError):
    """An HTTP request does not carry the operator's key, or carries one where it leaks."""

    code = "invalid_api_key"


class RequestRefused(WorkerError):
    """An HTTP request is refused for what it is, not for what it says: size, pace, address."""

    code = "request_refused"

    def __init__(self, message: str, *, status: int) -> None:
        super().__init__(message)
        self.status = status
        """The HTTP status that says why."""


class PromptTooLong(WorkerError):
    """The prompt and the requested audio need more positions than a slot has."""

    code = "prompt_too_long"


class InvalidSettings(WorkerError):
    """An environment variable is wrong."""

    code = "invalid_settings"


class WeightsNotFound(WorkerError):
    """The checkpoint is not where the settings say."""

    code = "weights_not_found"


class WeightsRefused(WorkerError):
    """The hub has the checkpoint, but does not give it to this token."""

    code = "weights_refused"


class WeightsUnavailable(WorkerError):
    """The checkpoint cannot be pulled now; a retry may help."""

    code = "weights_unavailable"


class InvalidCheckpoint(WorkerError):
    """A checkpoint is damaged or belongs to another model."""

    code = "invalid_checkpoint"


class DamagedVoice(WorkerError):
    """The file of one voice has changed since it was written; other voices still work."""

    code = "damaged_voice"
    quotes_caller = True  # callers name voices, and save them


class VolumeUnusable(WorkerError):
    """The volume cannot be written."""

    code = "volume_unusable"


class QueueFull(WorkerError):
    """As many sequences wait as are allowed."""

    code = "queue_full"


class DeadlineExceeded(WorkerError):
    """The time limit of a request has passed before its end."""

    code = "deadline_exceeded"


class Cancelled(WorkerError):
    """The request was cancelled before its end."""

    code = "cancelled"


class EngineFailed(WorkerError):
    """The device failed on this sequence; others are unaffected."""

    code = "engine_failed"


class EngineBroken(WorkerError):
    """The device failed for good; this process can generate nothing any more."""

    code = "engine_broken"


class WorkerStopping(WorkerError):
    """The platform stops this worker before the job is done; another worker can do it."""

    code = "worker_stopping"


class BatchFailed(WorkerError):
    """All texts of a batch failed; the details say why, text by text."""

    code = "batch_failed"
    quotes_caller = True


class NoSound(WorkerError):
    """The model ended before it gave a single frame."""

    code = "no_sound"


class StorageFailed(WorkerError):
    """The audio could not be uploaded to the object storage."""

    code = "storage_failed"


class ResultTooLarge(WorkerError):
    """The result exceeds what the platform accepts."""

    code = "result_too_large"


class InvalidDeployment(WorkerError):
    """The description of an endpoint is wrong."""

    code = "invalid_deployment"


class DeploymentFailed(WorkerError):
    """The endpoint exists and does not work."""

    code = "deployment_failed"


class PlatformRefused(WorkerError):
    """RunPod's API refuses; no retry helps."""

    code = "platform_refused"


class PlatformUnavailable(WorkerError):
    """RunPod's API cannot be reached or understood."""

    code = "platform_unavailable"


class InternalError(WorkerError):
    """An unexpected failure; details are in the log, not in the reply."""

    code = "internal_error"


_OUT_OF_MEMORY = (
    "out of memory",
    "not enough memory",
    "can't allocate memory",
    "cublas_status_alloc_failed",
    "cudnn_status_alloc_failed",
    "device_allocation_failed",
)
"""What torch's errors say, in small letters: CUDA's, the CPU allocator's, cuBLAS's and cuDNN's."""


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error says that memory is full, on a device or on the host.

    torch has a class of its own for its allocator's error; CUDA, cuBLAS and cuDNN only say it.
    """
    says_so = any(sign in str(error).lower() for sign in _OUT_OF_MEMORY)
    return isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and says_so)
