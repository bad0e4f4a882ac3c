"""`p2pnode` in this process, and an authority's folder with the requests of homes beside it."""

import sys
from pathlib import Path

import pytest

from node.admission.authority_folder import AuthorityFolder
from node.admission.endpoint import Endpoint
from node.admission.identity import create_key
from node.admission.passphrase import read_passphrase_file
from node.admission.request import make_request
from node.cli.main import main

NETWORK = "my-street"


class Provider:
    """A provider's folder with one authority in it, the passphrase in a file."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.authority = directory / "ca"
        self.key_file = directory / "ca.passphrase"

    @property
    def folder(self) -> AuthorityFolder:
        return AuthorityFolder(self.authority)

    @property
    def passphrase(self) -> bytes:
        return read_passphrase_file(self.key_file)

    def init(self) -> None:
        assert p2pnode("ca", "init", self.authority, "--network", NETWORK, *self.opened) == 0

    @property
    def opened(self) -> tuple[str | Path, ...]:
        return "--key-file", self.key_file

    @property
    def confirmed(self) -> tuple[str | Path, ...]:
        return *self.opened, "--yes"

    def request(self, name: str, *, file: str | None = None, host: str = "192.0.2.14", port: int = 7000) -> Path:
        """A home's request, its key beside it."""
        home = self.directory / (file or name)
        home.mkdir(exist_ok=True)
        key = home / "node.key"
        if not key.exists():
            create_key(key)
        path = home / "node.csr"
        path.write_bytes(make_request(name, key, Endpoint(host, port)))
        return path

    def issue(self, *names: str) -> list[Path]:
        """Certifies homes; returns their certificates."""
        requests = [self.request(name) for name in names]
        assert p2pnode("ca", "issue", self.authority, *requests, *self.confirmed) == 0
        return [request.with_suffix(".crt") for request in requests]

    def snapshot(self) -> dict[Path, bytes | str]:
        """All that lies in the folder, but for the lock."""
        return {
            path: f"-> {path.readlink()}" if path.is_symlink() else path.read_bytes()
            for path in sorted(self.directory.rglob("*"))
            if path.is_symlink() or (path.is_file() and path.name != "lock")
        }


def p2pnode(*arguments: str | Path) -> int:
    """Runs the command in this process, and returns its exit code."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["p2pnode", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
    code = ended.value.code or 0
    assert isinstance(code, int)
    return code
