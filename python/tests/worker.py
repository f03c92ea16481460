"""A destination worker of Coriolis's with its writer over HTTPS: mutual TLS, devices that are files."""

import base64
import gzip
import hashlib
import json
import ssl
import subprocess
import threading
import uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


def keys(folder):
    """An authority, a server's and a client's certificate, as ``setup_writer`` of Coriolis's has them."""

    def openssl(*words):
        done = subprocess.run(
            ["openssl", *[str(word) for word in words]], capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr

    new_key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
    openssl(
        "req", "-x509", *new_key, "-subj", "/CN=coriolis-writer",
        "-keyout", folder / "ca.key", "-out", folder / "ca.pem",
    )  # fmt: skip
    for name in ("server", "client"):
        (folder / "names").write_text("subjectAltName=IP:127.0.0.1\nbasicConstraints=CA:FALSE\n")
        openssl(
            "req", *new_key[:-2], "-subj", f"/CN={name}",
            "-keyout", folder / f"{name}.key", "-out", folder / f"{name}.csr",
        )  # fmt: skip
        openssl(
            "x509", "-req", "-in", folder / f"{name}.csr", "-days", "2", "-CAcreateserial",
            "-CA", folder / "ca.pem", "-CAkey", folder / "ca.key",
            "-extfile", folder / "names", "-out", folder / f"{name}.pem",
        )  # fmt: skip
    return folder


class Worker:
    """Serves until it is closed."""

    def __init__(self, folder):
        folder.mkdir()
        self.keys = keys(folder)
        self.held = {}
        self.jobs = {}
        self.written = 0
        self.calls = []
        #: Called with what is asked (``write`` and so on) before it is done; a status is answered
        #: instead, ``cut`` ends the connection.
        self.fault = lambda call, worker: None
        self.corrupt = False
        self.lock = threading.Lock()
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(folder / "server.pem", folder / "server.key")
        tls.load_verify_locations(folder / "ca.pem")
        tls.verify_mode = ssl.CERT_REQUIRED

        class Handler(_Handler):
            worker = self

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def get_request(self):
                sock, address = super().get_request()
                # The handshake is the handler's: it may take its time.
                return tls.wrap_socket(
                    sock, server_side=True, do_handshake_on_connect=False
                ), address

            def handle_error(self, request, client_address):
                pass  # a client that has gone away

        self._server = Server(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()

    def connection(self):
        """What Coriolis says of it to a provider."""
        return {
            "backend": "http_backup_writer",
            "connection_details": {
                "ip": "127.0.0.1",
                "port": self._server.server_address[1],
                "certificates": {
                    "ca_crt": (self.keys / "ca.pem").read_text(),
                    "client_crt": (self.keys / "client.pem").read_text(),
                    "client_key": (self.keys / "client.key").read_text(),
                },
            },
        }

    @property
    def endpoint(self):
        return f"https://127.0.0.1:{self._server.server_address[1]}"

    def close(self):
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    worker = None

    def log_message(self, *words):
        pass

    def _answer(self, status, body=b""):
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _call(self):
        prefix = "/api/v2/device/"
        assert self.path.startswith(prefix)
        rest = self.path[len(prefix) :]
        for call in ("acquire", "release", "checksumJob"):
            if rest.endswith("/" + call):
                return base64.b64decode(rest[: -len(call) - 1]).decode(), call, ""
        if "/checksumJob/" in rest:
            device, job = rest.split("/checksumJob/")
            return base64.b64decode(device).decode(), "job", job
        return base64.b64decode(rest).decode(), "write", ""

    def do_POST(self):
        worker = self.worker
        device, call, _ = self._call()
        token = self.headers["X-Client-Token"]
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        with worker.lock:
            worker.calls.append(call)
            fault = worker.fault(call, worker)
            if fault == "cut":
                self.close_connection = True
                return
            if fault is not None:
                self._answer(fault, b"as the test wants it")
                return
            if call == "acquire":
                assert uuid.UUID(token).version == 4
                if worker.held.setdefault(device, token) != token:
                    self._answer(409, b"somebody else has acquired it")
                    return
                self._answer(200)
                return
            if worker.held.get(device) != token:
                self._answer(403, b"not acquired")
            elif call == "release":
                del worker.held[device]
                self._answer(200)
            elif call == "checksumJob":
                self._answer(200, self._checksum(device, json.loads(body)))
            else:
                self._write(device, body)

    def _checksum(self, device, asked):
        with open(device, "rb") as file:
            file.seek(asked["start_offset"])
            end = asked["end_offset"]
            data = file.read(end - asked["start_offset"] if end else -1)
        job = str(uuid.uuid4())
        algorithm = asked["checksum_algorithm"]
        self.worker.jobs[job] = {
            "execution_status": "finished",
            "checksum_value": hashlib.new(algorithm, data).hexdigest(),
            "checksum_algorithm": algorithm,
            "error_message": "",
        }
        return json.dumps({"job_id": job}).encode()

    def _write(self, device, body):
        if self.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        if self.worker.corrupt:
            body = bytes(len(body))
        offset = int(self.headers["X-Write-Offset"])
        with open(device, "r+b") as file:
            if offset + len(body) > file.seek(0, 2):
                self._answer(400, b"past the end")
                return
            file.seek(offset)
            file.write(body)
        self.worker.written += len(body)
        self._answer(200)

    def do_GET(self):
        _, call, job = self._call()
        assert call == "job"
        told = self.worker.jobs.get(job)
        self._answer(200 if told else 404, json.dumps(told).encode())

    def do_DELETE(self):
        _, call, job = self._call()
        assert call == "job"
        self._answer(204 if self.worker.jobs.pop(job, None) else 404)
