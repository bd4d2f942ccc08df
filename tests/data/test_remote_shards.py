"""Shards behind URLs: as files, and no more bytes than a step needs."""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import fsspec
import pytest

import patch_forcing as pf
from patch_forcing.data.batch_spec import BatchSpec
from patch_forcing.data.shards import list_shards
from patch_forcing.data.sources import ShardsSource
from tests.support.image_files import PNG
from tests.support.same_runs import same_batches
from tests.support.served import send_file


@pytest.fixture
def in_memory(three):
    files = fsspec.filesystem("memory")
    for file in three.iterdir():
        files.pipe_file(f"/{three.parent.name}/{file.name}", file.read_bytes())
    yield f"memory://{three.parent.name}"
    files.rm(f"/{three.parent.name}", recursive=True)


@pytest.mark.parametrize("names", ["x-{00..02}.tar", "x-*.tar"])
def test_urls_of_any_kind_give_what_files_give(three, in_memory, names):
    result, remote = list_shards(f"{in_memory}/{names}")
    assert remote
    assert [one.name.split("/")[-1] for one in result] == ["x-00.tar", "x-01.tar", "x-02.tar"]
    ours = ShardsSource(f"{in_memory}/{names}").open()
    theirs = ShardsSource(str(three)).open()
    for step in range(3):
        assert same_batches(ours.batch(BatchSpec(step, 9, 2)), theirs.batch(BatchSpec(step, 9, 2)))


class Server(ThreadingHTTPServer):
    """Gives files of a folder and keeps count of what was asked for."""

    def __init__(self, root: Path, ranges: bool):
        super().__init__(("127.0.0.1", 0), Handler)
        self.root, self.ranges, self.asked, self.failing = root, ranges, [], 0


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        file = self.server.root / self.path.lstrip("/")
        if not file.is_file():
            self.send_error(404)
            return
        if self.server.failing and self.command == "GET":
            self.server.failing -= 1
            self.send_error(503)
            return
        sent = send_file(self, file.read_bytes(), {"ETag": '"1"'}, ranges=self.server.ranges)
        if self.command == "GET":
            self.server.asked.append(sent)

    def log_message(self, *_):
        pass


@pytest.fixture
def serve(three):
    servers = []

    def start(ranges=True):
        servers.append(Server(three, ranges))
        threading.Thread(target=servers[-1].serve_forever, daemon=True).start()
        return servers[-1], f"http://127.0.0.1:{servers[-1].server_port}"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def test_of_a_server_only_the_bytes_of_a_step_are_asked_for(three, serve, monkeypatch):
    server, url = serve()
    ours = ShardsSource(f"{url}/x-{{00..02}}.tar").open()
    server.asked.clear()
    theirs = ShardsSource(str(three)).open()
    expected = theirs.batch(BatchSpec(0, 4, 2))
    assert same_batches(ours.batch(BatchSpec(0, 4, 2)), expected)
    assert max(server.asked) <= len(PNG) + 50
    monkeypatch.setattr("patch_forcing.data.images.WAITS", (0.001,) * 3)
    server.failing = 2
    assert same_batches(ours.batch(BatchSpec(1, 10, 2)), theirs.batch(BatchSpec(1, 10, 2)))
    assert server.failing == 0
    assert ours.bad_samples() == []  # what passes is no fault of a sample


def test_a_server_that_is_of_no_use_is_told(serve):
    _, url = serve(ranges=False)
    with pytest.raises(pf.UserError, match="the server gives whole files only, not parts"):
        ShardsSource(f"{url}/x-00.tar").open()
    with pytest.raises(pf.UserError, match=r"x-07\.tar cannot be read: .*: mend that, or leave"):
        ShardsSource(f"{url}/x-07.tar").open()
    with pytest.raises(pf.UserError, match=r"data\.path=nonsense://x: .*: check the URL"):
        ShardsSource("nonsense://x").open()
