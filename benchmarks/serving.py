"""Requests a second, how long each takes and what CPU time, of a package served over HTTP on this machine.

`python benchmarks/serving.py --model runs/sample/model`, where the extra `serving` is installed. The server
is a process of its own; clients, threads of this one, each keep a connection and send the next when the
last one is answered. Titles are of eight words; an image is a made-up photograph, a JPEG sent as base64.
"""

import argparse
import base64
import io
import json
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import numpy as np
from clock import device_name
from PIL import Image

ROOT = Path(__file__).parents[1]
WORDS = [
    "livre",
    "roman",
    "piscine",
    "filtre",
    "jouet",
    "peluche",
    "lampe",
    "table",
    "chaise",
    "coussin",
    "jeu",
    "console",
    "carte",
    "voiture",
]
WARM_UP = 5


def photograph(random: np.random.Generator, side: int) -> str:
    """The base64 of a JPEG that compresses as photographs do: soft colors, some noise."""
    soft = Image.fromarray(random.integers(0, 256, (8, 8, 3), np.uint8)).resize((side, side))
    pixels = np.asarray(soft, np.int16) + random.integers(-12, 12, (side, side, 3), np.int16)
    file = io.BytesIO()
    Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(file, "JPEG", quality=85)
    return base64.b64encode(file.getvalue()).decode()


def requests(batch: int, images: bool, count: int, side: int) -> list[bytes]:
    """Bodies by the v1 protocol, of `batch` products each."""
    random = np.random.default_rng(0)
    pictures = [photograph(random, side) for _ in range(32)] if images else []

    def product() -> dict[str, str]:
        title = " ".join(random.choice(WORDS, 8))
        return {"title": title, **({"image": str(random.choice(pictures))} if pictures else {})}

    bodies = [json.dumps({"instances": [product() for _ in range(batch)]}) for _ in range(min(count, 64))]
    return [bodies[number % len(bodies)].encode() for number in range(count)]


def send(address: str, path: str, bodies: list[bytes]) -> list[float]:
    """Seconds that each request took, one after the other on one connection."""
    connection, took = HTTPConnection(address, timeout=600), []
    for body in bodies:
        start = time.perf_counter()
        connection.request("POST", path, body, {"content-type": "application/json"})
        answer = connection.getresponse()
        content = answer.read()
        took.append(time.perf_counter() - start)
        assert answer.status == 200, content
    connection.close()
    return took


def cpu_seconds(process: int) -> float:
    """CPU time that a process and its threads have had."""
    user, system = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


def measure(
    address: str, path: str, bodies: list[bytes], clients: int, server: int
) -> tuple[float, float, Any]:
    """Requests a second, the server's CPU seconds a request, and percentiles 50 and 99 of a request in ms."""
    send(address, path, bodies[:WARM_UP])
    start, before = time.perf_counter(), cpu_seconds(server)
    with ThreadPoolExecutor(clients) as pool:
        parts = [bodies[number::clients] for number in range(clients)]
        took = [each for part in pool.map(lambda part: send(address, path, part), parts) for each in part]
    rate, cpu = len(took) / (time.perf_counter() - start), (cpu_seconds(server) - before) / len(took)
    return rate, cpu, np.percentile(took, [50, 99]) * 1000


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--model", type=Path, required=True)
    options.add_argument("--requests", type=int, default=200)
    options.add_argument("--side", type=int, default=500, help="of an image, in pixels")
    given = options.parse_args()
    command = [sys.executable, "pipeline.py", "serve", "--model", given.model.resolve(), "--port", "0"]
    server = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    said = server.stdout.readline()
    address, _, path = said.partition("http://")[2].partition(";")[0].partition("/")
    print(f"{said.split(' at ')[0]}, {device_name()}")
    print("images  batch clients  requests/s  products/s   p50 ms   p99 ms  CPU ms/product")
    for images in (False, True):
        for batch in (1, 32):
            bodies = requests(batch, images, given.requests, given.side)
            for clients in (1, 4):
                rate, cpu, (half, most) = measure(address, f"/{path}", bodies, clients, server.pid)
                asked = f"{'yes' if images else 'no':7}{batch:6}{clients:8}"
                print(
                    f"{asked}{rate:12.1f}{rate * batch:12.1f}{half:9.1f}{most:9.1f}{cpu * 1000 / batch:16.2f}"
                )
    server.terminate()
    server.wait(30)


if __name__ == "__main__":
    main()
