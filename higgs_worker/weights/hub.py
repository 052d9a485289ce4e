"""The hub over HTTP: the files of a repository, and their bytes from any offset.

huggingface_hub supplies addresses and the meaning of refusals, but not the transfer: its downloads
start at zero again after a kill, verify nothing, wait for ever on a hanging or very slow answer and
give up at the first 500 or reset (2.4.0). Wrapping all that would be more code than requesting
ranges. Each call here is one request, whose every wait is bounded: it succeeds, may be retried, or
is refused for good. The token goes to the hub and to no host that it redirects to.
"""

import email.utils
import time
from collections.abc import Generator, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any, Self
from urllib.parse import quote

import httpx2
from huggingface_hub import hf_hub_url
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.utils import (  # type: ignore[attr-defined]  # documented, not re-exported
    hf_raise_for_status,
    parse_ratelimit_headers,
)

from higgs_worker.errors import WeightsNotFound, WeightsRefused
from higgs_worker.logs import mask
from higgs_worker.weights.blob import ETAG
from higgs_worker.weights.cache import COMMIT, REPO
from higgs_worker.weights.retry import Limits, Retryable
from higgs_worker.weights.transport import UrllibTransport

_MAX_REASON = 200


@dataclass(frozen=True, slots=True)
class HubFile:
    """A file as the hub lists it."""

    name: str
    size: int
    etag: str
    """Its sha256, or git's sha1 where it is small."""


@dataclass(frozen=True, slots=True)
class Listing:
    """The files of a repository at one commit."""

    repo: str
    commit: str
    files: Mapping[str, HubFile]


class Hub:
    """The hub, for several threads; a context manager."""

    def __init__(self, endpoint: str, token: str | None, limits: Limits) -> None:
        """
        Args:
            endpoint: the hub's address.
            token: an access token; None for public repositories.
            limits: how long to wait.
        """
        self._endpoint = endpoint.rstrip("/")
        if token:
            mask(token)
        self._token = token
        self._limits = limits
        self._transport = UrllibTransport(limits)
        self._client = httpx2.Client(
            transport=self._transport,
            headers={
                "User-Agent": "higgs-worker",
                "Accept-Encoding": "identity",
                **({"Authorization": f"Bearer {token}"} if token else {}),
            },
            follow_redirects=True,  # without the token when it leads to another host
            max_redirects=5,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: Any) -> None:
        self._client.close()

    def stop(self) -> None:
        """Make the requests of all threads fail at once."""
        self._transport.stop()

    def listing(self, repo: str, revision: str) -> Listing:
        """Return which commit a revision is, and its files.

        A repository that was renamed is listed under its new name.

        Raises:
            Retryable: it may work later.
            WeightsNotFound: there is no such repository or revision.
            WeightsRefused: the token may not see it.
        """
        try:
            raw = self._json(repo, revision)
            if raw["id"] != repo:  # again: a redirect may drop the query
                repo = _name(raw["id"])
                raw = self._json(repo, revision)
            commit = raw["sha"]
            files = [_file(each) for each in raw["siblings"]]
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise Retryable("the hub's answer is not a list of files") from error
        if not isinstance(commit, str) or not COMMIT.fullmatch(commit):
            raise Retryable("the hub's answer names no commit")
        if COMMIT.fullmatch(revision) and commit != revision:
            raise Retryable("the hub answered for another commit than was asked for")
        return Listing(repo, commit, {each.name: each for each in files if each})

    def honours_ranges(self, listing: Listing, file: HubFile) -> bool:
        """Return whether the server sends parts of a file; requests one byte.

        Raises:
            Retryable, WeightsNotFound, WeightsRefused: see `listing`.
        """
        with self._answer(self._url(listing, file), listing.repo, span=(0, 1)) as answer:
            return answer.status_code == 206

    def read(
        self, listing: Listing, file: HubFile, start: int, end: int
    ) -> Generator[bytes, None, None]:
        """Yield the bytes of a file from `start` to `end`, in pieces of any size.

        A server that ignores ranges also sends what is before `start`; it is read and dropped.

        Raises:
            Retryable: the body ended early, stopped or was too slow; what was yielded is right.
            WeightsNotFound, WeightsRefused: see `listing`.
        """
        url = self._url(listing, file)
        with self._answer(url, listing.repo, span=(start, end)) as answer:
            position = _first_byte(answer, start)
            guard = _StallGuard(self._limits)
            pieces = answer.iter_raw()
            while position < end:
                with guard:
                    piece = next(pieces, b"")
                if not piece:
                    raise Retryable("the connection ended before the file did")
                guard.count(len(piece))
                skipped = max(start - position, 0)
                position += len(piece)
                yield piece[skipped : len(piece) - max(position - end, 0)]

    def _json(self, repo: str, revision: str) -> Any:
        url = f"{self._endpoint}/api/models/{repo}/revision/{quote(revision, safe='')}"
        with self._answer(url, repo, params={"blobs": "true"}) as answer:
            with self._transport.limit():
                answer.read()
            return answer.json()

    def _url(self, listing: Listing, file: HubFile) -> str:
        return hf_hub_url(listing.repo, file.name, revision=listing.commit, endpoint=self._endpoint)

    @contextmanager
    def _answer(
        self,
        url: str,
        repo: str,
        *,
        params: dict[str, str] | None = None,
        span: tuple[int, int] | None = None,
    ) -> Iterator[httpx2.Response]:
        """Send a request; every failure inside, of the body too, becomes one of our errors."""
        headers = {"Range": f"bytes={span[0]}-{span[1] - 1}"} if span else {}
        try:
            request = self._client.build_request("GET", url, params=params, headers=headers)
            with self._transport.limit():
                answer = self._client.send(request, stream=True)
            with closing(answer):
                hf_raise_for_status(answer)
                yield answer
        except HfHubHTTPError as error:
            raise self._explain(error, repo) from error
        except (TimeoutError, httpx2.ReadTimeout) as error:
            raise Retryable("the hub did not answer in time") from error
        except httpx2.HTTPError as error:
            raise Retryable(_reason(error)) from error

    def _explain(self, error: HfHubHTTPError, repo: str) -> Exception:
        status, url = error.response.status_code, error.response.url
        is_hub = url.netloc == httpx2.URL(self._endpoint).netloc
        who = "HF_TOKEN" if self._token else "HF_TOKEN, which is not set,"
        if isinstance(error, GatedRepoError):
            return WeightsRefused(
                f"{repo} is gated and {who} does not open it; accept its conditions at "
                f"{self._endpoint}/{repo} and set HF_TOKEN to a token of that account"
            )
        if isinstance(error, RevisionNotFoundError):
            return WeightsNotFound(
                f"{repo} has no such revision; set HIGGS_MODEL_REVISION or HIGGS_CODEC_REVISION to "
                "a commit or branch of it"
            )
        if isinstance(error, RepositoryNotFoundError):
            return WeightsNotFound(
                f"the hub knows no {repo}, or {who} may not see it; check the name and the token"
            )
        if status == 401 and is_hub:
            return WeightsRefused(
                "the hub does not know this HF_TOKEN; set a valid one, or none for public weights"
            )
        if status == 403 and is_hub:
            return WeightsRefused(f"{who} may not read {repo}; set one that may")
        if status == 404 and is_hub:
            return WeightsNotFound(f"a file of {repo} that the hub lists is not there")
        return Retryable(f"{url.host} answered {status}", after_s=_retry_after_s(error.response))


class _StallGuard:
    """Detects a connection that is too slow; counts only the time spent waiting for bytes."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._waited_s = 0.0
        self._num_bytes = 0
        self._started_at = 0.0

    def __enter__(self) -> None:
        self._started_at = time.monotonic()

    def __exit__(self, *_: object) -> None:
        self._waited_s += time.monotonic() - self._started_at

    def count(self, num_bytes: int) -> None:
        """Count received bytes.

        Raises:
            Retryable: too few for the time.
        """
        self._num_bytes += num_bytes
        if self._waited_s < self._limits.slow_s:
            return
        if self._num_bytes < self._waited_s * self._limits.min_bytes_per_s:
            raise Retryable("the connection gave almost nothing for too long")
        self._waited_s, self._num_bytes = 0.0, 0


def _name(raw: str) -> str:
    if not REPO.fullmatch(raw):
        raise ValueError(raw)
    return raw


def _file(raw: dict[str, Any]) -> HubFile | None:
    """Return a file of the listing; None for one without a checksum (no weights are)."""
    lfs = raw.get("lfs") or {}
    size, etag = lfs.get("size", raw.get("size")), lfs.get("sha256") or raw.get("blobId")
    if not isinstance(etag, str) or not ETAG.fullmatch(etag) or not isinstance(size, int):
        return None
    return HubFile(raw["rfilename"], size, etag) if size >= 0 else None


def _first_byte(answer: httpx2.Response, start: int) -> int:
    """Return the offset in the file at which a body starts."""
    if answer.headers.get("Content-Encoding", "identity") != "identity":
        raise Retryable("the file was sent in another encoding")
    if answer.status_code == 200:
        return 0
    if answer.headers.get("Content-Range", "").startswith(f"bytes {start}-"):
        return start
    raise Retryable(f"the hub answered {answer.status_code} with another part of the file")


def _reason(error: httpx2.HTTPError) -> str:
    """Describe a failure without addresses: those of object stores are signed."""
    text = str(error)
    return type(error).__name__ if not text or "://" in text else text[:_MAX_REASON]


def _retry_after_s(answer: httpx2.Response) -> float:
    """Return how long the server asks to wait: seconds, a date, or the hub's own header."""
    value = answer.headers.get("Retry-After", "")
    if value.isdecimal():
        return float(value)
    try:
        return max(email.utils.parsedate_to_datetime(value).timestamp() - time.time(), 0.0)
    except ValueError:
        pass
    rate = parse_ratelimit_headers(answer.headers) if answer.status_code == 429 else None
    return float(rate.reset_in_seconds) if rate else 0.0
