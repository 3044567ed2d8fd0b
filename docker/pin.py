"""`python docker/pin.py`: resolves the images' packages afresh and pins each by its hash.

Needs Python 3.11 on 64-bit Linux, which is what the images are, and `pip install uv`. Then build the images
and run the tests.
"""

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

FOLDER = Path(__file__).parent
KFP = "kfp==2.17.*"
SOURCE = "kfp-server-api"  # published as source alone


@dataclass(frozen=True)
class PackageList:
    """One requirements file: what its packages need and the lists below it do not hold already."""

    name: str
    title: str
    packages: tuple[str, ...]
    below: tuple[str, ...] = ()


TABLES = (
    "numpy",
    "pandas",
    "pyarrow",
    "scikit-learn",
    "pillow",
    "simplejpeg",
    "jinja2",
    "fsspec",
    "pydantic",
)
TORCH = ("torch<=2.14.1", "torchvision<=0.29.1", "transformers", "tokenizers", "sentencepiece", "safetensors")
STAGES = (
    PackageList("tables", "Every stage: tables, matrices, images, reports.", TABLES),
    PackageList(
        "stores",
        "Catalogs and weights from object stores, S3's and Google's.",
        ("s3fs", "gcsfs"),
        ("tables",),
    ),
    PackageList("cleanlab", "Denoise: confident learning.", ("cleanlab",), ("tables", "stores")),
    PackageList("torch", "Trainings: torch with CUDA, pretrained models.", TORCH, ("tables", "stores")),
)
CLIENT = (KFP, "kfp-kubernetes==2.17.*", "click", "fsspec", "pydantic", "setuptools")


def resolve(packages: tuple[str, ...], chosen: tuple[str, ...] = ()) -> tuple[str, ...]:
    """Everything that the packages need, as `name==version`; what is in `chosen` keeps its version."""
    with TemporaryDirectory() as folder:
        (Path(folder) / "in.txt").write_text("\n".join(packages))
        (Path(folder) / "chosen.txt").write_text("\n".join(chosen))
        command = [sys.executable, "-m", "uv", "pip", "compile", "--quiet", "--no-header", "--no-annotate"]
        command += ["--only-binary", ":all:", "--no-binary", SOURCE, "-c", "chosen.txt", "in.txt"]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, cwd=folder)
    return tuple(done.stdout.split())


def write(name: str, title: str, pins: tuple[str, ...]) -> None:
    """Writes one requirements file, each package with the hash of the file that pip takes here."""
    command = [sys.executable, "-m", "pip", "install", "--dry-run", "--ignore-installed", "--no-deps"]
    command += ["--quiet", "--only-binary", ":all:", "--no-binary", SOURCE, "--report", "-", *pins]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    lines = sorted(_line(each) for each in json.loads(done.stdout)["install"])
    head = f"# {title}\n# Python 3.11, Linux, x86-64. Installed with --no-deps: the list is whole.\n"
    (FOLDER / f"requirements-{name}.txt").write_text(head + "".join(lines), encoding="utf-8")


def _line(installed: dict[str, Any]) -> str:
    name = installed["metadata"]["name"].lower().replace("_", "-").replace(".", "-")
    digest = installed["download_info"]["archive_info"]["hashes"]["sha256"]
    return f"{name}=={installed['metadata']['version']} \\\n    --hash=sha256:{digest}\n"


def main() -> None:
    client = resolve(CLIENT)
    source = tuple(pin for pin in client if pin.startswith(SOURCE))
    write("kfp", "Every stage: what runs a component in its pod.", (KFP,))
    write("client", "The command line: kfp whole.", tuple(pin for pin in client if pin not in source))
    write("client-source", "Of the command line's packages those that come as source alone.", source)
    # At once, so that the lists of one image agree.
    chosen = resolve(tuple(package for each in STAGES for package in each.packages))
    held: dict[str, set[str]] = {}
    for each in STAGES:
        held[each.name] = set(resolve(each.packages, chosen))
        below = set().union(*(held[name] for name in each.below))
        write(each.name, each.title, tuple(sorted(held[each.name] - below)))


if __name__ == "__main__":
    main()
