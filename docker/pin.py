"""`python docker/pin.py`: resolves the packages of the images and of the tests afresh, pins each by its hash.

Needs Python 3.11 on 64-bit Linux, which is what the images are, and `pip install uv`. Then build the images
and run the tests.
"""

import json
import subprocess
import sys
import tomllib
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

ROOT = Path(__file__).parents[1]
KFP = "kfp==2.17.*"
SOURCE = "kfp-server-api"  # published as source alone
CLIENT = (KFP, "kfp-kubernetes==2.17.*", "click", "fsspec", "pydantic", "setuptools")
TABLES = (
    *("numpy", "pandas", "pyarrow", "scikit-learn", "cleanlab", "pillow", "simplejpeg", "jinja2", "pydantic"),
    *("fsspec", "s3fs", "gcsfs", "openpyxl", "charset-normalizer", "safetensors"),
)
TORCH = (
    *("torch<=2.14.1", "torchvision<=0.29.1"),
    *("timm", "transformers", "tokenizers", "sentencepiece"),
)


# Beside what the tests need, what those of `serving` do.
SERVING = ("serving", "mlflow", "model-registry", "test-serving")
OTHERWISE = ("pandas==", "protobuf==")  # of which KServe wants older ones


def resolve(packages: tuple[str, ...], chosen: tuple[str, ...] = ()) -> tuple[str, ...]:
    """Everything that the packages need, as `name==version`; what is in `chosen` keeps its version."""
    with TemporaryDirectory() as folder:
        (Path(folder) / "in.txt").write_text("\n".join(packages))
        (Path(folder) / "chosen.txt").write_text("\n".join(chosen))
        command = [sys.executable, "-m", "uv", "pip", "compile", "--quiet", "--no-header", "--no-annotate"]
        command += ["--only-binary", ":all:", "--no-binary", SOURCE, "-c", "chosen.txt", "in.txt"]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, cwd=folder)
    return tuple(done.stdout.split())


def write(path: str, title: str, pins: tuple[str, ...]) -> None:
    """Writes one list of packages, each with the hash of the file that pip takes here."""
    command = [sys.executable, "-m", "pip", "install", "--dry-run", "--ignore-installed", "--no-deps"]
    command += ["--quiet", "--only-binary", ":all:", "--no-binary", SOURCE, "--report", "-", *pins]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    lines = sorted(_line(each) for each in json.loads(done.stdout)["install"])
    head = f"# {title}\n# Python 3.11, Linux, x86-64. Installed with --no-deps: the list is whole.\n"
    (ROOT / path).write_text(head + "".join(lines), encoding="utf-8")


def _line(installed: dict[str, Any]) -> str:
    name = installed["metadata"]["name"].lower().replace("_", "-").replace(".", "-")
    digest = installed["download_info"]["archive_info"]["hashes"]["sha256"]
    return f"{name}=={installed['metadata']['version']} \\\n    --hash=sha256:{digest}\n"


def _named() -> dict[str, tuple[str, ...]]:
    """What the project needs by itself, as "", and its extras."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    named = {"": project["dependencies"], **project["optional-dependencies"]}
    return {name: tuple(packages) for name, packages in named.items()}


def main() -> None:
    client = resolve(CLIENT)
    source = tuple(pin for pin in client if pin.startswith(SOURCE))
    others = tuple(pin for pin in client if pin not in source)
    write("docker/requirements-kfp.txt", "Every stage: what runs a component in its pod.", (KFP,))
    write("docker/requirements-client.txt", "The command line: kfp whole.", others)
    write("docker/requirements-client-source.txt", "The command line: what is source alone.", source)
    # At once, so that the lists of one image agree.
    chosen = resolve((*TABLES, *TORCH))
    tables = resolve(TABLES, chosen)
    torch = tuple(pin for pin in chosen if pin not in tables)
    write("docker/requirements-tables.txt", "Every stage: tables, images, reports, object stores.", tables)
    write("docker/requirements-torch.txt", "Trainings: torch with CUDA, pretrained models.", torch)
    named = _named()
    with_registries = resolve((*TABLES, *TORCH, *named["mlflow"], *named["model-registry"]), chosen)
    more = tuple(pin for pin in with_registries if pin not in chosen)
    write("docker/requirements-registries.txt", "Promote: clients of registries, over trainings.", more)
    others = tuple(pin for pin in chosen if not pin.startswith(OTHERWISE))
    served = resolve((*TABLES, *TORCH, *named["serving"]), others)
    more = tuple(pin for pin in served if pin not in chosen)
    write("docker/requirements-serving.txt", "Serving: over those of trainings.", more)
    # What the images compute with has the same version here, as far as kfp's own pins allow.
    packages = (*named[""], *named["run"], *named["test"])
    tested = resolve(packages, tuple(pin for pin in TORCH if "<" in pin))
    # Of the packages of weights nothing runs: what they need is left out.
    write("tests/constraints.txt", "What `make test` installs.", (*tested, *named["pretrained"]))
    others = tuple(pin for pin in tested if not pin.startswith(OTHERWISE))
    more = (*packages, *(package for name in SERVING for package in named[name]))
    beside = tuple(pin for pin in resolve(more, others) if pin not in tested)
    write("tests/constraints-serving.txt", "What the tests of serving have over those of all others.", beside)


if __name__ == "__main__":
    main()
