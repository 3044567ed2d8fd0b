"""The connection to a Kubeflow Pipelines server: who answers, and whether it is the right one."""

import json
import re
import ssl
import urllib.error
import urllib.request
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kfp import Client

from components.core.errors import InputError

OLDEST = (2, 16)  # the first version that knows a pod's security context
TIMEOUT = 5.0
# Where a pod finds its service account's token for the server.
TOKEN = Path("/var/run/secrets/kubeflow/pipelines/token")


@dataclass(frozen=True)
class Access:
    """The server's address and what shows it who asks; "" for none."""

    host: str
    namespace: str = ""
    token: str = ""
    cookie: str = ""
    ca_file: str = ""

    @property
    def address(self) -> str:
        """The host with its protocol, https by default."""
        return (self.host if "://" in self.host else f"https://{self.host}").rstrip("/")

    def get(self, path: str) -> dict[str, Any]:
        """The JSON object at a path of the server.

        The client itself would try for half a minute and print a traceback for each attempt.

        Raises:
            urllib.error.HTTPError: the server refuses.
            OSError: nobody answers.
            ValueError: something else than a JSON object answers.
        """
        headers = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        headers |= {"Cookie": self.cookie} if self.cookie else {}
        request = urllib.request.Request(f"{self.address}/{path}", headers=headers)
        trusted = ssl.create_default_context(cafile=self.ca_file or None)
        with urllib.request.urlopen(request, timeout=TIMEOUT, context=trusted) as answer:
            found = json.loads(answer.read())
        if not isinstance(found, dict):
            raise ValueError(f"{path}: no JSON object")
        return found


def connect(access: Access) -> Client:
    """A client of the server, once it has answered.

    Raises:
        InputError: nobody answers, it is no such server, it refuses the credentials, or it is one for many
            users and no namespace is named.
    """
    health = _health(access)
    warnings.filterwarnings("ignore", message="This client only works with", category=FutureWarning)
    client = Client(
        host=access.address,
        namespace=access.namespace or "kubeflow",  # which stands for none
        existing_token=access.token or None,
        cookies=access.cookie or None,
        ssl_ca_cert=access.ca_file or None,
    )
    if health.get("multi_user") and not client.get_user_namespace():
        raise InputError(
            f"--namespace is missing: {access.address} is a server for many users; name the namespace of "
            "your profile"
        )
    return client


def _health(access: Access) -> dict[str, Any]:
    address = access.address
    try:
        return access.get("apis/v2beta1/healthz")
    except urllib.error.HTTPError as error:
        advice = "pass --token-file or --cookie-file" if error.code in (401, 403) else "is the path right?"
        raise InputError(f"{address}: the server answers {error.code} {error.reason}: {advice}") from error
    except OSError as error:
        reason = getattr(error, "reason", None) or error
        raise InputError(
            f"{address}: no Kubeflow Pipelines server answers ({reason}). Is it reachable from here? With "
            "kubectl: kubectl port-forward -n kubeflow svc/ml-pipeline 8888:8888, then --host "
            "http://127.0.0.1:8888"
        ) from error
    except ValueError as error:
        raise InputError(
            f"{address}: something else than a Kubeflow Pipelines server answers, perhaps a login page: pass "
            "--token-file or --cookie-file, or give the address at which /apis/v2beta1/healthz answers"
        ) from error


def check_version(access: Access) -> str:
    """What to warn of before a pipeline is sent there; "" where the server's version is known to do.

    Raises:
        InputError: the server is too old for the compiled pipeline.
    """
    # The v2 interface does not have it.
    try:
        version = str(access.get("apis/v1beta1/healthz").get("tag_name", ""))
    except (OSError, ValueError):
        version = ""
    oldest = ".".join(map(str, OLDEST))
    found = re.match(r"v?(\d+)\.(\d+)", version)
    if found is None:
        unknown = f"calls its version {version!r}" if version else "does not say which version it is"
        return f"{access.address} {unknown}; the pipeline needs {oldest} or later"
    if (int(found[1]), int(found[2])) < OLDEST:
        raise InputError(
            f"{access.address}: Kubeflow Pipelines {version} is too old: the pipeline needs {oldest} or "
            "later, which keeps its pods from running as root"
        )
    return ""
