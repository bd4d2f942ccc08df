"""What the Hub on this machine holds, and what may befall its answers."""

import hashlib
from dataclasses import dataclass, field


@dataclass
class Repository:
    """Branches are lists of commits; a commit is its files."""

    private: bool = False
    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    branches: dict[str, str] = field(default_factory=dict)

    def commit(self, files: dict[str, bytes], branch: str = "main") -> str:
        """Adds files to what the branch holds, or to the main one's to begin one."""
        begin = self.branches.get(branch, self.branches.get("main", ""))
        whole = {**self.commits.get(begin, {}), **files}
        content = [(name, hashlib.sha256(data).hexdigest()) for name, data in whole.items()]
        sha = hashlib.sha1(repr((len(self.commits), sorted(content))).encode()).hexdigest()
        self.commits[sha] = whole
        self.branches[branch] = sha
        return sha

    def at(self, revision: str) -> str | None:
        """The commit of a branch, or of its own hash."""
        return self.branches.get(revision, revision if revision in self.commits else None)

    @property
    def files(self) -> dict[str, bytes]:
        """Those of the main branch."""
        return self.commits[self.branches["main"]]


@dataclass
class Fault:
    """What befalls requests whose line matches: so many times an answer, or a connection that dies.

    code: the Hub's name of the error. cut: after so many bytes of the answer, or before all of the
    request was read if it sends a file.
    """

    line: str
    status: int = 0
    code: str = ""
    cut: int = 0
    times: int = 1_000
