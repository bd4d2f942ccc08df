"""A Hub on this machine: a real server, which huggingface_hub's own client talks to.

It has what the client asks of repositories of models: who a token is of, what is there, commits,
large files, downloads in parts; and faults on demand.
"""

import base64
import hashlib
import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from tests.support.hub_content import Fault, Repository
from tests.support.served import send_file

TOKEN = "hf_of_me"
OWNER = "me"


class Hub(ThreadingHTTPServer):
    """Its repositories, and the large files that arrived.

    asked: each request's line in order. parts: of files that were asked for in part, which.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.repositories: dict[str, Repository] = {}
        self.stored: dict[str, bytes] = {}
        self.faults: list[Fault] = []
        self.asked: list[str] = []
        self.parts: list[str] = []
        self.url = f"http://127.0.0.1:{self.server_port}"
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()

    def close(self) -> None:
        """Nobody answers there any more."""
        self.shutdown()
        self.server_close()

    def handle_error(self, request, client_address) -> None:
        """A client that went away is no error of the server's."""


def use(hub: Hub, monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """huggingface_hub's client asks this one; what it keeps lies in the folder.

    It reads the environment once, when it is imported: so its constants are set.
    """
    from huggingface_hub import constants, file_download, utils

    values = {
        "ENDPOINT": hub.url,
        "HUGGINGFACE_CO_URL_TEMPLATE": hub.url + "/{repo_id}/resolve/{revision}/{filename}",
        "HF_HUB_CACHE": str(folder / "cache"),
        "HF_TOKEN_PATH": str(folder / "token"),
        "DOWNLOAD_CHUNK_SIZE": 100,  # what is kept of a connection that dies
        "HF_HUB_DISABLE_XET": True,  # a protocol of its own, which no second server speaks
    }
    for name, value in values.items():
        monkeypatch.setattr(constants, name, value)
        if hasattr(file_download, name):  # in releases before 1.0
            monkeypatch.setattr(file_download, name, value)
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    set_offline(False, monkeypatch)
    monkeypatch.setattr(utils._http.time, "sleep", lambda _: None)  # between its attempts


def set_offline(offline: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """As HF_HUB_OFFLINE does."""
    from huggingface_hub import constants
    from huggingface_hub.utils import _http

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", offline)
    getattr(_http, "close_session", getattr(_http, "reset_sessions", None))()


class _Handler(BaseHTTPRequestHandler):
    server: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_GET(self):
        self._answer()

    def do_HEAD(self):
        self._answer()

    def do_POST(self):
        self._answer()

    def do_PUT(self):
        self._answer()

    def _answer(self) -> None:
        line = f"{self.command} {unquote(urlsplit(self.path).path)}"
        self.server.asked.append(line)
        self._cut = None
        for fault in self.server.faults:
            if fault.times > 0 and re.search(fault.line, line):
                fault.times -= 1
                if fault.status:
                    self._body()
                    headers = {"X_Error_Code": fault.code} if fault.code else {}
                    self._json({"error": "on demand"}, fault.status, **headers)
                    return
                if self.command == "PUT":
                    self.rfile.read(fault.cut)
                    self.close_connection = True
                    self.connection.close()
                    return
                self._cut = fault.cut
        for pattern, answer in _ROUTES:
            if match := re.fullmatch(pattern, line):
                answer(self, *match.groups())
                return
        self._body()
        self._json({"error": "no such place"}, 404)

    def _body(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def _json(self, content: object, status: int = 200, **headers: str) -> None:
        data = json.dumps(content).encode()
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    @property
    def _known(self) -> bool:
        return self.headers.get("Authorization") == f"Bearer {TOKEN}"

    def _find(self, hub_id: str, revision: str = "main") -> tuple[Repository, str] | None:
        """The repository and the commit; None after an answer that says what is missing."""
        repository = self.server.repositories.get(hub_id)
        if repository is None or (repository.private and not self._known):
            status = 404 if self._known else 401
            self._json({"error": "Repository not found"}, status, X_Error_Code="RepoNotFound")
            return None
        sha = repository.at(revision)
        if sha is None and not (revision == "main" and not repository.commits):
            self._json({"error": "no revision"}, 404, X_Error_Code="RevisionNotFound")
            return None
        return repository, sha or ""

    def _may_write(self) -> bool:
        if not self._known:
            self._json({"error": "log in"}, 401)
        return self._known

    def whoami(self):
        if self._may_write():
            self._json({"type": "user", "name": OWNER, "orgs": []})

    def info(self, hub_id, revision=None):
        if place := self._find(hub_id, revision or "main"):
            repository, sha = place
            files = [{"rfilename": name} for name in repository.commits.get(sha, {})]
            about = {"id": hub_id, "sha": sha, "private": repository.private, "tags": []}
            self._json({**about, "downloads": 0, "likes": 0, "siblings": files})

    def tree(self, hub_id, revision):
        if place := self._find(hub_id, revision):
            repository, sha = place
            files = repository.commits.get(sha, {})
            self._json([
                {"type": "file", "path": name, "size": len(data), "oid": _oid(data)}
                for name, data in files.items()
            ])  # fmt: skip

    def resolve(self, hub_id, revision, name):
        if place := self._find(hub_id, revision):
            repository, sha = place
            data = repository.commits.get(sha, {}).get(name)
            if data is None:
                self._json({"error": "no file"}, 404, X_Error_Code="EntryNotFound")
                return
            if "Range" in self.headers:
                self.server.parts.append(self.headers["Range"])
            headers = {"ETag": f'"{_oid(data)}"', "X-Repo-Commit": sha}
            send_file(self, data, headers, cut=self._cut if self.command == "GET" else None)

    def create(self):
        body = json.loads(self._body())
        if not self._may_write():
            return
        owner = body.get("organization") or OWNER
        hub_id = f"{owner}/{body['name']}"
        address = {"url": f"{self.server.url}/{hub_id}"}
        if owner != OWNER:
            self._json({"error": "not yours"}, 403)
        elif hub_id in self.server.repositories:
            self._json(address, 409)
        else:
            private = body.get("private") or body.get("visibility") == "private"
            repository = self.server.repositories[hub_id] = Repository(private=bool(private))
            repository.commit({".gitattributes": b"*.safetensors filter=lfs\n"})
            self._json(address)

    def branch(self, hub_id, name):
        self._body()
        if place := self._find(hub_id):
            repository, sha = place
            status = 409 if name in repository.branches else 200
            repository.branches.setdefault(name, sha)
            self._json({}, status)

    def preupload(self, hub_id, revision):
        files = json.loads(self._body())["files"]
        if self._find(hub_id, revision):
            modes = [
                {
                    "path": file["path"],
                    "uploadMode": "lfs" if file["path"].endswith(".safetensors") else "regular",
                    "shouldIgnore": False,
                }
                for file in files
            ]
            self._json({"files": modes})

    def batch(self, hub_id):
        objects = []
        for one in json.loads(self._body())["objects"]:
            row = {"oid": one["oid"], "size": one["size"]}
            if one["oid"] not in self.server.stored:
                row["actions"] = {"upload": {"href": f"{self.server.url}/lfs/{one['oid']}"}}
            objects.append(row)
        self._json({"transfer": "basic", "objects": objects})

    def store(self, oid):
        data = self._body()
        whole = hashlib.sha256(data).hexdigest() == oid
        if whole:
            self.server.stored[oid] = data
        self._json({}, 200 if whole else 400)

    def commit(self, hub_id, branch):
        lines = [json.loads(line) for line in self._body().splitlines()]
        if not (self._may_write() and (place := self._find(hub_id, branch))):
            return
        files = {}
        for line in lines:
            value = line["value"]
            if line["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                files[value["path"]] = self.server.stored[value["oid"]]
        sha = place[0].commit(files, branch)
        url = f"{self.server.url}/{hub_id}/commit/{sha}"
        self._json({"success": True, "commitUrl": url, "commitOid": sha})

    def validate(self):
        self._body()
        self._json({"errors": [], "warnings": []})


def _oid(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


_ID = r"([\w.-]+/[\w.-]+)"
_ROUTES = [
    (r"GET /api/whoami-v2", _Handler.whoami),
    (rf"GET /api/models/{_ID}", _Handler.info),
    (rf"GET /api/models/{_ID}/revision/(.+)", _Handler.info),
    (rf"GET /api/models/{_ID}/tree/([^/]+)", _Handler.tree),
    (rf"(?:GET|HEAD) /{_ID}/resolve/([^/]+)/(.+)", _Handler.resolve),
    (r"POST /api/repos/create", _Handler.create),
    (rf"POST /api/models/{_ID}/branch/(.+)", _Handler.branch),
    (rf"POST /api/models/{_ID}/preupload/(.+)", _Handler.preupload),
    (rf"POST /{_ID}\.git/info/lfs/objects/batch", _Handler.batch),
    (r"PUT /lfs/(\w+)", _Handler.store),
    (rf"POST /api/models/{_ID}/commit/(.+)", _Handler.commit),
    (r"POST /api/validate-yaml", _Handler.validate),
]
"""What is answered, by the request's line."""
