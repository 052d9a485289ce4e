"""A recording from a caller's address: only public machines, and never a file."""

import base64
import time
from concurrent.futures import ThreadPoolExecutor
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from higgs_worker.errors import UnusableReference
from higgs_worker.voices.download import download
from higgs_worker.voices.web_address import is_public
from tests.fakes.web import (
    PUBLIC,
    SOUND,
    Names,
    Route,
    Server,
    get,
    ok,
    redirect,
    refusal,
    refused_by,
    unreached,
)

# What it gives


def test_an_address_gives_its_bytes() -> None:
    """The body arrives as it is, and the request carries nothing but what it must."""
    with Server(lambda _: ok(SOUND)) as server:
        assert get(server, "/my voice.wav?a=ü#part") == SOUND
    assert server.requests == [
        f"GET /my%20voice.wav?a=%C3%BC HTTP/1.1\r\nHost: {server.host}\r\n"
        "User-Agent: higgs-worker\r\nAccept: */*\r\nAccept-Encoding: identity\r\n"
        "Connection: close\r\n\r\n"
    ]


def test_the_environment_names_no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy set for other programs is not used."""
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    with Server(lambda _: ok(SOUND)) as server:
        assert get(server) == SOUND


def test_no_cookie_survives_a_redirect() -> None:
    """What a server wants to be told again is not told."""
    answers = {"/voice.wav": redirect("/b"), "/b": ok(SOUND)}
    answers["/voice.wav"][0] = answers["/voice.wav"][0].replace(
        b"\r\n\r\n", b"\r\nSet-Cookie: a=1\r\n\r\n"
    )
    with Server(lambda path: answers[path]) as server:
        assert get(server) == SOUND
    assert "cookie" not in "".join(server.requests).lower()


@pytest.mark.parametrize(
    "pieces",
    [
        [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"],
        [b"HTTP/1.0 200 OK\r\n\r\nab", b"cde"],
        [b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabcde"],
        [b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabcdefgh"],
        [b"HTTP/1.1 200 OK\r\nContent-Length: five\r\n\r\nabcde"],
    ],
    ids=["chunked", "until closed", "continue", "more than announced", "no number"],
)
def test_every_way_to_end_a_body(pieces: list[bytes]) -> None:
    """Chunks, a length and a closed connection each end it."""
    with Server(lambda _: pieces) as server:
        assert get(server) == b"abcde"


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_are_followed(status: int) -> None:
    """Five of them, relative or whole."""
    with Server(
        lambda path: ok(SOUND) if path == "/5" else redirect(f"{int(path[1:]) + 1}", status)
    ) as server:
        assert get(server, "/0") == SOUND
    assert len(server.requests) == 6


@pytest.mark.parametrize("allowed", ["127.0.0.1", "127.0.0.1:{port}"])
def test_the_operator_allows_a_host(allowed: str) -> None:
    """By name, with or without its port."""
    with Server(lambda _: ok(SOUND)) as server:
        hosts = frozenset({allowed.format(port=server.port)})
        assert get(server, allowed_hosts=hosts) == SOUND


@pytest.mark.parametrize("form", ["{}", "data:audio/wav;base64,{}", "DATA:;BASE64,{}"])
def test_base64_gives_its_bytes(form: str) -> None:
    """Bare or as a data URI, in lines or in one."""
    text = base64.encodebytes(SOUND).decode()
    assert (
        download(form.format(text), max_bytes=len(SOUND), timeout_s=1, resolve=unreached) == SOUND
    )


def test_base64_holds_no_other_thread_up() -> None:
    """One word of 13 MB, which might be the beginning of an address: the loop goes on."""
    text = "A" * (4 << 20) * 3 + "AA=="
    longest_s, last = 0.0, time.monotonic()
    with ThreadPoolExecutor() as threads:
        decoding = threads.submit(download, text, max_bytes=10_000_000, timeout_s=30)
        while not decoding.done():
            time.sleep(0.001)
            longest_s, last = max(longest_s, time.monotonic() - last), time.monotonic()
    assert decoding.result() == bytes(len(text) // 4 * 3 - 2)
    assert longest_s < 0.25  # 0.02 where nothing else runs


@pytest.mark.parametrize("at", [1 << 20, (1 << 20) - 2, 8])
def test_padding_is_only_at_the_end(at: int) -> None:
    """Two texts in one are a mistake, wherever they meet."""
    text = "A" * (at - 4) + "AA==" + "A" * 100
    with pytest.raises(UnusableReference, match="not valid base64"):
        download(text, max_bytes=10_000_000, timeout_s=1)


def test_base64_of_an_mp3_is_no_path() -> None:
    """It begins with slashes, as a path does."""
    sound = b"\xff\xfb\x90\x64" + bytes(1000)
    text = base64.b64encode(sound).decode()
    assert text.startswith("//")
    assert download(text, max_bytes=2000, timeout_s=1) == sound


# Where it does not go

PUBLIC_PLACES = """
8.8.8.8 1.1.1.1 172.15.0.1 172.32.0.1 223.255.255.254 2606:4700::6810:84e5 2a00:1450:4001::200e
::ffff:8.8.8.8 64:ff9b::808:808
"""
OTHER_PLACES = """
0.0.0.0 0.1.2.3 10.0.0.1 100.64.0.1 100.100.100.200 127.0.0.1 127.255.255.254 168.63.129.16
169.254.169.254 169.254.170.2 172.16.0.1 172.31.255.255 192.0.0.9 192.0.0.192 192.0.2.1
192.88.99.1 192.168.1.1 198.18.0.1 198.51.100.1 203.0.113.1 224.0.0.1 239.255.255.250 240.0.0.1
255.255.255.255 :: ::1 ::127.0.0.1 ::ffff:127.0.0.1 ::ffff:169.254.169.254 ::ffff:0:127.0.0.1
64:ff9b::7f00:1 64:ff9b::a9fe:a9fe 64:ff9b:1::808:808 100::1
2001:0:4136:e378:8000:63bf:3fff:fdd2 2001:20::1 2001:db8::1 2002:7f00:1:: 2002:808:808::
3fff::1 5f00::1 fc00::1 fd00:ec2::254 fd20:ce::254 fe80::1 fec0::1 ff02::1 ff0e::1
"""
PLACES = dict.fromkeys(PUBLIC_PLACES.split(), True)
PLACES |= dict.fromkeys(OTHER_PLACES.split(), False)


@pytest.mark.parametrize(("place", "public"), PLACES.items())
def test_only_public_addresses_are_reached(place: str, public: bool) -> None:
    """The same verdict for an address that is written and for one that a name has."""
    assert is_public(ip_address(place)) is public
    with Server(lambda _: ok(SOUND)) as server:
        route, names = Route(server), Names([place])
        literal = f"[{place}]" if ":" in place else place
        for url in (f"http://{literal}/", "http://voices.example/"):
            if public:
                assert download(
                    url, max_bytes=100_000, timeout_s=5, resolve=names, connect=route
                ).startswith(b"RIFF")
            else:
                assert "not on the public internet" in refusal(url, resolve=names, connect=route)
    assert {ip_address(host) for host, _ in route.targets} == (
        {ip_address(place)} if public else set()
    )


@settings(deadline=None)
@given(st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6)))
def test_public_is_never_more_than_global(address: IPv4Address | IPv6Address) -> None:
    """Python's own verdict is an upper bound, but for addresses that embed another."""
    if is_public(address):
        assert not address.is_multicast
        embeds = isinstance(address, IPv6Address) and not 2 <= int(address) >> 124 <= 3
        assert address.is_global or embeds


@pytest.mark.parametrize(
    "host",
    [
        "2130706433",
        "017700000001",
        "0x7f000001",
        "0x7f.1",
        "127.1",
        "127.0.1",
        "0177.0.0.1",
        "127.0.0.0x1",
        "127.0.0.256",
        "1.2.3.4.5",
        "1.2.3.4.example.0x",
        "%31%32%37.0.0.1",
        "127.0.0.1%00.example.com",
        "[::1%25lo]",
        "[fe80::1%eth0]",
        "[127.0.0.1]",
        "[v1.x]",
        "[::1",
        "voices..example",
        "voices.example..",
        ".",
        "",
        "a b.example",
        "a" * 64 + ".example",
        "voices.example:99999",
        "voices.example:http",
        "voices.example:-1",
        "voïces\u2100.example",
        "\u2024\u2024",
    ],
)
def test_hosts_that_parsers_read_differently(host: str) -> None:
    """An address in disguise, or none at all, is refused before anything is resolved."""
    said = refusal(f"http://{host}/voice.wav", resolve=unreached, connect=unreached)
    assert "valid host or port" in said


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1.", "１２７.0.0.1", "127。0。0。1", "①②⑦.0.0.1", "[::1]", "[0:0:0::ffff:7f00:1]"],
)
def test_loopback_in_other_letters(host: str) -> None:
    """However it is written, it is known for what it is."""
    said = refusal(f"http://{host}:8080/", resolve=unreached, connect=unreached)
    assert "not on the public internet" in said


def test_a_name_that_leads_home_is_refused() -> None:
    """The real resolver's answer for localhost is judged like any other."""
    with Server(lambda _: ok(SOUND)) as server:
        said = refusal(f"http://LocalHost:{server.port}/", connect=unreached)
    assert said.startswith("'localhost' is not on the public internet")


def test_one_private_address_spoils_a_name() -> None:
    """Which of its addresses would be used is for nobody to choose."""
    names = Names([PUBLIC, "10.0.0.1"])
    said = refusal("http://voices.example/", resolve=names, connect=unreached)
    assert "not on the public internet" in said


def test_a_name_that_changes_its_answer() -> None:
    """The connection goes to the address that was checked; nobody asks a second time."""
    names = Names([PUBLIC], ["127.0.0.1"])
    with Server(lambda _: ok(SOUND)) as server:
        route = Route(server)
        url = f"http://voices.example:{server.port}/"
        found = download(url, max_bytes=100_000, timeout_s=5, resolve=names, connect=route)
    assert found == SOUND
    assert names.asked == ["voices.example"]
    assert route.targets == [(PUBLIC, server.port)]


def test_a_redirect_is_resolved_and_checked_anew() -> None:
    """The same name, private at the second look, is refused there."""
    names = Names([PUBLIC], ["127.0.0.1"])
    with Server(lambda _: redirect("/again")) as server:
        route = Route(server)
        said = refusal("http://voices.example/", resolve=names, connect=route)
    assert "not on the public internet" in said
    assert len(route.targets) == 1


@pytest.mark.parametrize(
    ("location", "words"),
    [
        ("http://127.0.0.2/", "not on the public internet"),
        ("http://169.254.169.254/latest/meta-data/", "not on the public internet"),
        ("//10.0.0.1/", "not on the public internet"),
        ("http://[::ffff:10.0.0.1]/", "not on the public internet"),
        ("file:///etc/passwd", "http or https only"),
        ("ftp://voices.example/", "http or https only"),
        ("data:audio/wav;base64,AAAA", "http or https only"),
        ("http://user:pass@voices.example/", "user name or password"),
        ("http://[::1", "does not answer as a web server should"),
        ("http://127.1/", "valid host"),
        ("/" + "a" * 9000, "longer than"),
    ],
)
def test_redirects_to_elsewhere_are_refused(location: str, words: str) -> None:
    """What may not be asked for may not be reached by a detour."""
    assert words in refused_by(lambda _: redirect(location), resolve=unreached)


def test_redirects_end() -> None:
    """The sixth is not followed."""
    with Server(lambda _: redirect("/again")) as server:
        said = refusal(server.url(), allowed_hosts=frozenset({server.host}))
    assert "more than 5 times" in said
    assert len(server.requests) == 6


@pytest.mark.parametrize("location", [b"", b"Location: \xff\xfe\r\n"])
def test_redirects_without_a_place(location: bytes) -> None:
    """A redirect to nowhere is refused with a sentence."""
    assert refused_by(lambda _: [b"HTTP/1.1 302 Found\r\n" + location + b"\r\n"])


@pytest.mark.parametrize(
    "source",
    [
        "/etc/passwd",
        "/tmp/abc",
        "./voice.wav",
        "../../etc/shadow",
        "~/voice.wav",
        "voice.wav",
        "\\\\server\\share",
        "C:\\voice.wav",
        "file:///etc/passwd",
        "FILE:/etc/passwd",
        "ftp://voices.example/a.wav",
        "gopher://voices.example/",
        "example.com/voice.wav",
        "s3://bucket/key",
    ],
)
def test_files_and_other_schemes_are_refused(source: str) -> None:
    """A sentence says what to send, and nothing is opened."""
    said = refusal(source, resolve=unreached, connect=unreached)
    assert "no file of the worker's machine is opened" in said
    assert "http" in said


def test_a_real_file_is_not_opened(tmp_path: Path) -> None:
    """Not even one that exists."""
    path = tmp_path / "voice"
    path.write_bytes(SOUND)
    assert "no file" in refusal(str(path))
    assert "no file" in refusal(path.as_uri())


@pytest.mark.parametrize(
    "url",
    [
        "http://me:hunter2@voices.example/?token=hunter2",
        "http://voices.example:bad/?token=hunter2",
        "http://127.0.0.1/hunter2?token=hunter2#hunter2",
        "http://voices.example/?a=\\hunter2",
    ],
)
def test_secrets_of_an_address_are_not_repeated(url: str) -> None:
    """The sentence names the host at most."""
    assert "hunter2" not in refusal(url, resolve=unreached)
