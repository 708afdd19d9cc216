"""A host with something of each kind in it, on a folder of its own, that ends with the test."""

import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import urllib.error
import urllib.request


class Host:
    token = "a-token-of-the-tests-0123456789"

    def __init__(self, root, folder):
        self.root = pathlib.Path(root)
        self.folder = pathlib.Path(folder)
        built = sorted(self.root.glob("target/debug/build/backroom-*/out/echo.wasm"), key=lambda file: file.stat().st_mtime)
        self.program = self.root / "target" / "debug" / "backroom"
        if not self.program.is_file() or not built:
            sys.exit("openapi: run `cargo build` first")
        self.component = built[-1]

    def __enter__(self):
        self.folder.mkdir(parents=True)
        environment = {name: value for name, value in os.environ.items() if not name.startswith("BACKROOM_")}
        environment["BACKROOM_SERVER_TOKEN"] = self.token
        (self.folder / "backroom.toml").write_text('[server]\ntrusted_proxies = ["127.0.0.1"]\n')
        log = open(self.folder / "log", "wb")
        self.process = subprocess.Popen(
            [self.program, "serve", "--listen", "127.0.0.1:0", "--data", self.folder / "data", "--durability", "process"],
            cwd=self.folder, env=environment, stdout=subprocess.PIPE, stderr=log, text=True,
        )
        try:
            self.url = self.told()
            self.furnish()
        except BaseException:
            # A `with` does not leave what it has not entered.
            self.__exit__()
            raise
        return self

    def told(self):
        """The address that the host says it listens on."""
        first = self.process.stdout.readline()
        address = re.search(r"http://127\.0\.0\.1:\d+", first)
        if address is None:
            sys.exit(f"openapi: the host does not start: {first}{(self.folder / 'log').read_text()}")
        return address.group()

    def __exit__(self, *_):
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def furnish(self):
        """Makes one of each kind, so that requests find something."""
        component = self.component.read_bytes()
        for version in ("1.0.0", "1.1.0"):
            self.json("PUT", f"/v1/plugins/echo/versions/{version}", component, kind="application/wasm")
            component += b"\x00\x04\x01a00"
        self.json("POST", "/v1/jobs?wait=10s", {"plugin": "echo", "input": {"greeting": "hello"}})
        self.json("POST", "/v1/jobs", {"plugin": "echo", "at": "30d", "ordering_key": "customer 7", "tags": ["a"]})
        self.json("POST", "/v1/batches?name=many", b'{"plugin": "echo"}\n' * 3, kind="application/x-ndjson")
        self.json("PUT", "/v1/schedules/nightly", {"plugin": "echo", "rule": "FREQ=DAILY", "start": "2030-01-01T00:00:00Z"})
        self.json("POST", "/v1/tokens", {"name": "auditor", "rights": ["read"]})

    def json(self, method, path, body=None, kind="application/json"):
        """The answer to a request that has to go well."""
        bytes_of_body = json.dumps(body).encode() if isinstance(body, dict) else body
        headers = {"Authorization": f"Bearer {self.token}"}
        if bytes_of_body is not None:
            headers["Content-Type"] = kind
        request = urllib.request.Request(f"{self.url}{path}", data=bytes_of_body, headers=headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as refused:
            sys.exit(f"openapi: {method} {path}: {refused.status} {refused.read().decode(errors='replace')}")
