"""Fetching a checkpoint from a small server of our own that behaves, and misbehaves, as the Hub.

It redirects to another host for the bytes, as the Hub does, and cuts, corrupts or refuses as told.
"""

import hashlib
import os
import re
import runpy
import shutil
import socket
import struct
import sys
import threading
import time
from collections import namedtuple
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import huggingface_hub
import pytest
from huggingface_hub import constants, file_download

import boringfusion_lite as bf
from boringfusion_lite import fetching, sources

CONTENT = os.urandom(200_000)
TOY = sources.Source(
    about="a toy",
    file="toy.safetensors",
    size=len(CONTENT),
    sha256=hashlib.sha256(CONTENT).hexdigest(),
    licence="Toy Licence 1.0",
    repositories=("first/one", "second/two"),
)
Usage = namedtuple("Usage", "total used free")


@dataclass
class Repository:
    """How a repository of the server answers."""

    content: bytes = CONTENT
    size: int = TOY.size  # what it says of itself
    sha256: str = TOY.sha256
    status: int = 200
    code: str = ""  # the Hub's word for a refusal
    cuts: list[tuple[int, bool]] = field(default_factory=list)  # (after so many bytes, with a RST?)
    ranges: bool = True


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_HEAD(self):
        self.answer()

    def do_GET(self):
        self.answer()

    def answer(self):
        owner, name, *rest = self.path.removeprefix("/cdn").strip("/").split("/")
        repository = self.server.repositories.get(f"{owner}/{name}")
        if repository is None:  # the library asks for other things, too
            return self.send_error(404)
        seen = (self.command, self.path, dict(self.headers))
        self.server.seen.append(seen)
        if self.path.startswith("/cdn"):
            return self.send_bytes(repository)
        assert rest == ["resolve", "main", TOY.file]
        moved = f"http://localhost:{self.server.server_port}/cdn/{owner}/{name}"
        headers = {
            "X-Repo-Commit": "0" * 40,
            "X-Linked-Size": repository.size,
            "X-Linked-ETag": f'"{repository.sha256}"',
            "Location": moved,
        }
        if repository.status != 200:
            headers = {"X-Error-Code": repository.code}
        self.send_response(302 if repository.status == 200 else repository.status)
        for key, value in (headers | {"Content-Length": 0}).items():
            self.send_header(key, value)
        self.end_headers()

    def send_bytes(self, repository):
        content, start = repository.content, 0
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        if asked and repository.ranges:
            start = int(asked[1])
        if start >= len(content):
            self.send_response(416)
            self.send_header("Content-Length", "0")
            return self.end_headers()
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", len(content) - start)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.end_headers()
        if not repository.cuts:
            return self.wfile.write(content[start:])
        after, reset = repository.cuts.pop(0)
        self.wfile.write(content[start : start + after])
        self.wfile.flush()
        if reset:
            threading.Event().wait(0.02)  # let it arrive
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()
        self.close_connection = True


@pytest.fixture
def hub(monkeypatch, tmp_path):
    """The server; `repositories` may be changed, `seen` is what was asked of it."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.repositories = {name: Repository() for name in TOY.repositories}
    server.seen = []
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    monkeypatch.setitem(sources.SOURCES, "toy", TOY)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "home" / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 10_000)
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_port}/")
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    monkeypatch.setenv("NO_PROXY", "*")
    huggingface_hub.close_session()
    yield server
    huggingface_hub.close_session()
    server.shutdown()
    server.server_close()


def fetched(hub, repository=""):
    """The Range headers of the requests for the bytes, in order."""
    wanted = f"/cdn/{repository}"
    return [headers.get("Range") for _, path, headers in hub.seen if path.startswith(wanted)]


def names(folder):
    return sorted(path.name for path in folder.iterdir())


DONE = ["toy.safetensors", "toy.safetensors.lock", "toy.safetensors.sha256"]


# When all goes well


@pytest.mark.parametrize("name", list(sources.SOURCES))
def test_the_table_can_be_verified(name):
    source = sources.SOURCES[name]
    assert re.fullmatch("[0-9a-f]{64}", source.sha256)
    assert 1e9 < source.size < 1e10
    assert source.file.endswith((".safetensors", ".ckpt"))
    assert source.repositories and all("/" in repository for repository in source.repositories)
    others = [other for key, other in sources.SOURCES.items() if key != name]
    assert source.file not in {other.file for other in others}  # they share a folder
    assert source.sha256 not in {other.sha256 for other in others}


def test_a_file_is_fetched_told_and_verified(hub, tmp_path, capsys):
    path = bf.download("toy")
    assert path == tmp_path / "home" / "boringfusion-lite" / "toy.safetensors"
    assert path.read_bytes() == CONTENT
    assert names(path.parent) == DONE
    note = (path.parent / "toy.safetensors.sha256").read_text()
    assert note == f"{TOY.sha256}  toy.safetensors\n"
    told = capsys.readouterr()
    assert told.out == ""
    beginning = told.err[: told.err.index("from: first/one")]  # before anything was fetched
    assert "0.0002 GB" in beginning and "Toy Licence 1.0" in beginning and str(path) in beginning
    assert fetched(hub) == [None]


def test_the_token_goes_to_the_hub_and_not_on_to_the_host_of_the_bytes(hub, tmp_path):
    bf.download("toy", tmp_path)
    with_token = {path.startswith("/cdn"): "authorization" for _, path, _ in hub.seen}
    assert with_token.keys() == {False, True}
    for _, path, headers in hub.seen:
        sent = {key.lower(): value for key, value in headers.items()}
        assert sent.get("authorization") == (
            None if path.startswith("/cdn") else "Bearer hf_secret"
        )


def test_a_finished_file_is_not_fetched_or_read_again(hub, tmp_path, capsys):
    bf.download("toy", tmp_path)
    hub.seen.clear()
    capsys.readouterr()
    assert bf.download("toy", tmp_path) == tmp_path / TOY.file
    assert hub.seen == [] and capsys.readouterr().err == ""
    bf.download("toy", tmp_path, verify=True)
    assert hub.seen == [] and "checking the sha256" in capsys.readouterr().err


def test_a_file_put_there_by_hand_is_verified_once(hub, tmp_path, capsys):
    (tmp_path / TOY.file).write_bytes(CONTENT)
    for checks in (1, 0):
        assert bf.download("toy", tmp_path) == tmp_path / TOY.file
        assert capsys.readouterr().err.count("checking") == checks
    assert hub.seen == []
    later = time.time() + 5
    os.utime(tmp_path / TOY.file, (later, later))  # somebody wrote to it
    bf.download("toy", tmp_path)
    assert capsys.readouterr().err.count("checking") == 1


def test_a_file_in_the_hubs_own_cache_is_used(hub, tmp_path, capsys):
    """Also a proof of the server: the library's own download works with it."""
    endpoint = os.environ["HF_ENDPOINT"].rstrip("/")
    cached = huggingface_hub.hf_hub_download("second/two", TOY.file, endpoint=endpoint)
    hub.seen.clear()
    assert str(bf.download("toy")) == cached
    assert hub.seen == []
    assert bf.download("toy", verify=True).read_bytes() == CONTENT


def test_two_at_once_fetch_it_once(hub, tmp_path):
    paths = []
    threads = [
        threading.Thread(target=lambda: paths.append(bf.download("toy", tmp_path)))
        for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert paths == [tmp_path / TOY.file] * 2
    assert fetched(hub) == [None]


# When the line is bad


@pytest.mark.parametrize("reset", [False, True], ids=["closed", "reset"])
def test_a_dropped_connection_is_resumed(hub, tmp_path, reset):
    hub.repositories["first/one"].cuts = [(30_000, reset)] * 5  # more often than there are pauses
    path = bf.download("toy", tmp_path)
    assert path.read_bytes() == CONTENT
    first, *ranges = fetched(hub, "first/one")
    starts = [int(asked.removeprefix("bytes=").rstrip("-")) for asked in ranges]
    assert first is None and len(starts) == 5 and fetched(hub, "second/two") == []
    assert 0 < starts[0] <= 30_000 and starts == sorted(starts)
    if not reset:  # which may throw away what was on its way
        assert starts == [30_000, 60_000, 90_000, 120_000, 150_000]


def test_a_server_without_ranges_begins_again(hub, tmp_path):
    hub.repositories["first/one"] = Repository(cuts=[(90_000, False)], ranges=False)
    assert bf.download("toy", tmp_path).read_bytes() == CONTENT
    assert fetched(hub) == [None, "bytes=90000-"]


def test_a_line_that_stays_dead_keeps_what_came_and_goes_on_next_time(hub, tmp_path):
    hub.repositories["first/one"].cuts = [(50_000, False)] + [(0, False)] * 99
    hub.repositories["second/two"].cuts = [(10_000, False)] + [(0, False)] * 99
    with pytest.raises(ConnectionError, match="6e-05 GB are kept") as caught:
        bf.download("toy", tmp_path)
    assert str(caught.value).startswith("No repository gave the file:")
    assert names(tmp_path) == ["toy.safetensors.lock", "toy.safetensors.partial"]
    hub.repositories["first/one"].cuts.clear()
    hub.seen.clear()
    assert bf.download("toy", tmp_path).read_bytes() == CONTENT
    assert fetched(hub) == ["bytes=60000-"] and names(tmp_path) == DONE


def test_ctrl_c_keeps_what_has_arrived(hub, tmp_path, monkeypatch, capsys):
    class Interrupted:
        def __init__(self, file):
            self.file = file

        def write(self, chunk):
            if self.file.tell() >= 100_000:
                raise KeyboardInterrupt
            return self.file.write(chunk)

    get = file_download.http_get
    with monkeypatch.context() as patch:
        patch.setattr(file_download, "http_get", lambda u, f, **o: get(u, Interrupted(f), **o))
        assert command(monkeypatch, "toy", "--folder", str(tmp_path)) == 130
    assert "the same command goes on" in capsys.readouterr().err
    assert (tmp_path / "toy.safetensors.partial").read_bytes() == CONTENT[:100_000]
    hub.seen.clear()
    assert bf.download("toy", tmp_path).read_bytes() == CONTENT
    assert fetched(hub) == ["bytes=100000-"]
    assert "0.0001 GB of it here already" in capsys.readouterr().err


# When the file is not what it should be


def test_wrong_bytes_never_get_the_name(hub, tmp_path, capsys):
    wrong = CONTENT[:100] + b"?" + CONTENT[101:]
    hub.repositories["first/one"].content = wrong
    path = bf.download("toy", tmp_path)
    assert path.read_bytes() == CONTENT and names(tmp_path) == DONE
    assert fetched(hub, "second/two") == [None]  # from its beginning, not on top of the wrong ones
    found = hashlib.sha256(wrong).hexdigest()
    assert (
        f"its file has sha256 {found} instead of {TOY.sha256}; deleted" in capsys.readouterr().err
    )


def test_wrong_bytes_everywhere_leave_nothing(hub, tmp_path):
    for repository in hub.repositories.values():
        repository.content = bytes(TOY.size)
    with pytest.raises(ConnectionError, match="instead of"):
        bf.download("toy", tmp_path)
    assert names(tmp_path) == ["toy.safetensors.lock"]


def test_a_truncated_file_is_completed_from_the_next_repository(hub, tmp_path, capsys):
    hub.repositories["first/one"].content = CONTENT[:120_000]
    assert bf.download("toy", tmp_path).read_bytes() == CONTENT
    assert fetched(hub, "second/two") == ["bytes=120000-"]
    told = capsys.readouterr().err
    assert "ended too early" in told and "shorter than it should be (416)" in told


@pytest.mark.parametrize("change", [{"size": 5}, {"sha256": "0" * 64}])
def test_another_file_is_not_even_begun(hub, tmp_path, capsys, change):
    hub.repositories["first/one"] = Repository(**change)
    bf.download("toy", tmp_path)
    assert fetched(hub, "first/one") == [] and "another file: " in capsys.readouterr().err


def test_a_damaged_file_is_set_aside_and_fetched_anew(hub, tmp_path, capsys):
    for damaged in (CONTENT[:-1], bytes(TOY.size)):
        (tmp_path / TOY.file).write_bytes(damaged)
        assert bf.download("toy", tmp_path, verify=True).read_bytes() == CONTENT
        aside = tmp_path / "toy.safetensors.damaged"
        assert aside.read_bytes() == damaged and str(aside) in capsys.readouterr().err


def test_a_partial_file_that_is_too_long_is_begun_anew(hub, tmp_path):
    (tmp_path / "toy.safetensors.partial").write_bytes(bytes(TOY.size + 1))
    assert bf.download("toy", tmp_path).read_bytes() == CONTENT


# When nobody gives it


@pytest.mark.parametrize(
    ("status", "code", "said"),
    [
        (401, "RepoNotFound", "gone, or private (401)"),
        (401, "GatedRepo", "accounts in that have accepted its terms"),
        (403, "", "accounts in that have accepted its terms"),
        (404, "EntryNotFound", "gone (404)"),
        (429, "", "the server failed (429)"),
        (503, "", "the server failed (503)"),
    ],
)
def test_a_refusal_is_told_and_the_next_repository_tried(hub, tmp_path, capsys, status, code, said):
    hub.repositories["first/one"] = Repository(status=status, code=code)
    assert bf.download("toy", tmp_path).read_bytes() == CONTENT
    assert said in capsys.readouterr().err


def test_if_all_refuse_one_error_says_what_each_said(hub, tmp_path):
    hub.repositories["first/one"] = Repository(status=404, code="RepoNotFound")
    hub.repositories["second/two"] = Repository(status=403)
    with pytest.raises(ConnectionError) as caught:
        bf.download("toy", tmp_path)
    message = str(caught.value)
    assert "first/one: the repository or the file is gone (404)\n" in message
    assert "second/two: it lets only accounts in" in message
    assert by_hand_is_complete(message, tmp_path) and len(message.splitlines()) == 7


def by_hand_is_complete(message, folder):
    page = "https://huggingface.co/first/one/blob/main/toy.safetensors"
    return page in message and str(folder / TOY.file) in message and "0.0002 GB" in message


def test_offline_it_says_what_to_fetch_and_where_to_put_it(hub, tmp_path, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(ConnectionError, match="HF_HUB_OFFLINE") as caught:
        bf.download("toy", tmp_path)
    message = str(caught.value)
    assert by_hand_is_complete(message, tmp_path) and len(message.splitlines()) < 6
    assert hub.seen == [] and names(tmp_path) == []
    (tmp_path / TOY.file).write_bytes(CONTENT)  # as told
    assert bf.download("toy", tmp_path) == tmp_path / TOY.file


def test_without_a_network_it_says_the_same(hub, tmp_path, monkeypatch):
    with socket.socket() as taken:  # bound, but nobody listens
        taken.bind(("127.0.0.1", 0))
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{taken.getsockname()[1]}")
        with pytest.raises(ConnectionError, match="ConnectError") as caught:
            bf.download("toy", tmp_path)
    message = str(caught.value)
    assert by_hand_is_complete(message, tmp_path) and len(message.splitlines()) < 6


def test_too_small_a_disk_is_noticed_before_anything_is_asked(hub, tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: Usage(10**6, 0, TOY.size - 1))
    with pytest.raises(OSError, match="0.0002 GB are to come. Make room"):
        bf.download("toy", tmp_path)
    assert hub.seen == []
    (tmp_path / "toy.safetensors.partial").write_bytes(CONTENT[:1])  # what is here counts
    assert bf.download("toy", tmp_path).read_bytes() == CONTENT


def test_a_disk_that_fills_up_on_the_way_is_no_matter_of_the_network(hub, tmp_path, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(file_download, "http_get", full)
    with pytest.raises(OSError, match="No space left") as caught:
        bf.download("toy", tmp_path)
    assert not isinstance(caught.value, ConnectionError)
    assert {path for _, path, _ in hub.seen} == {"/first/one/resolve/main/toy.safetensors"}


def test_an_unknown_name():
    with pytest.raises(ValueError, match="no source 'sd3'. Choose one of: sd15, sd15-fp16, sd14"):
        bf.download("sd3")


# The command


def command(monkeypatch, *arguments):
    """Run it as `python -m boringfusion_lite.download` does; its exit status."""
    monkeypatch.setattr(sys, "argv", ["download", *arguments])
    with pytest.raises(SystemExit) as left:
        runpy.run_module("boringfusion_lite.download", run_name="__main__")
    return left.value.code


def test_the_command_prints_the_path_alone(hub, tmp_path, monkeypatch, capsys):
    assert command(monkeypatch, "toy", "--folder", str(tmp_path)) == 0
    assert capsys.readouterr().out == f"{tmp_path / TOY.file}\n"
    assert bf.download is fetching.download  # the module of that name is never in its way


def test_the_commands_list(monkeypatch, capsys):
    assert command(monkeypatch, "--list") == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2 * len(sources.SOURCES) and lines[0].startswith("sd15        4.27 GB")


def test_the_commands_errors(hub, tmp_path, monkeypatch, capsys):
    assert command(monkeypatch) == 2
    assert command(monkeypatch, "sd3") == 2
    for repository in hub.repositories.values():
        repository.status = 404
    assert command(monkeypatch, "toy", "--folder", str(tmp_path)) == 1
    told = capsys.readouterr()
    assert "error: No repository gave the file:" in told.err and told.out == ""
