"""Two servers on one volume: what one of them saves or removes, the other one knows."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from tests.fakes.http_worker import SECRETS, HttpWorker

pytestmark = pytest.mark.long
VOICES = "/v1/audio/voices"
TRANSCRIPT = "The morning train was late again, so I read the paper twice."


@pytest.fixture(scope="module")
def clients(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[httpx.Client]]:
    """A client of each of two servers."""
    base = tmp_path_factory.mktemp("servers")
    how = {"HIGGS_VOLUME": str(base / "volume")}
    key = SECRETS["HIGGS_API_KEY"]
    (base / "one").mkdir()
    (base / "two").mkdir()
    with HttpWorker(base / "one", **how) as one, HttpWorker(base / "two", **how) as two:
        yield [
            httpx.Client(
                base_url=each.url, headers={"Authorization": f"Bearer {key}"}, timeout=60.0
            )
            for each in (one, two)
        ]


def test_a_name_that_both_save_at_once_is_one_voice_s(clients: list[httpx.Client]) -> None:
    """One gets it, and the other one is told; with `replace` both may. Both list it once.

    It speaks on either server; when one removes it, the other does not know it any more.
    """
    ask = {"input": TRANSCRIPT, "voice": "clara", "response_format": "wav", "seed": 1}
    recording = clients[0].post("/v1/audio/speech", json=ask).content

    def save(client: httpx.Client, **fields: Any) -> httpx.Response:
        form = {"name": "anna", "transcript": TRANSCRIPT, **fields}
        return client.post(VOICES, data=form, files={"audio_sample": ("a.wav", recording)})

    def save_at_once(**fields: Any) -> list[httpx.Response]:
        with ThreadPoolExecutor(2) as pool:
            return list(pool.map(lambda client: save(client, **fields), clients))

    def names(client: httpx.Client) -> list[str]:
        return [each["name"] for each in client.get(VOICES).json()["voices"]]

    made, refused = sorted(save_at_once(), key=lambda reply: reply.status_code)
    assert (made.status_code, refused.status_code) == (201, 400), refused.text
    assert "anna" in refused.json()["error"]["message"]
    assert [each.status_code for each in save_at_once(replace="true")] == [201, 201]
    for client in clients:
        assert names(client).count("anna") == 1
        spoken = client.post("/v1/audio/speech", json={"input": "Good morning.", "voice": "anna"})
        assert spoken.status_code == 200
    assert clients[1].delete(f"{VOICES}/anna").status_code == 200
    assert "anna" not in names(clients[0])
    assert clients[0].delete(f"{VOICES}/anna").status_code == 404
    gone = clients[0].post("/v1/audio/speech", json={"input": "Good morning.", "voice": "anna"})
    assert (gone.status_code, gone.json()["error"]["code"]) == (400, "unknown_voice")
