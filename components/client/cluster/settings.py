"""What a stage's pod asks of the cluster: processors, memory, patience, volumes, secrets."""

import re
from dataclasses import dataclass, field, fields
from types import ModuleType
from typing import Any

from components.core.environment import CHECKPOINT_DAYS_VARIABLE
from components.core.errors import InputError
from components.core.project import NAME

# None is a name that the launcher reads, which moves artifacts inside the same container: the catalog's store
# may be another one.
SECRET_KEYS = (
    "CATALOG_AWS_ACCESS_KEY_ID",
    "CATALOG_AWS_SECRET_ACCESS_KEY",
    "CATALOG_AWS_ENDPOINT_URL",
    "HF_TOKEN",
)
# The last task's alone: whoever knows the address can post there.
ALERT_KEYS = ("ALERT_WEBHOOK",)
# Of the task promote alone: what MLflow's client logs in with.
REGISTRY_KEYS = ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN")
BACKOFF = 2.0
MOST_RETRIES = 20  # the waits double: before the twentieth it is two months
UNITS = {"s": 1, "m": 60, "h": 3600}
NO_LIMIT = "8760h"  # a year; left out, it would mean an hour

CPU = ("a number of processors such as 2, 0.5 or 500m", r"(\d+(\.\d+)?|\d+m)?")
SIZE = ("a Kubernetes quantity such as 512Mi, 8Gi or 8G", r"([1-9]\d*(Ki|[MGTPE]i?)?)?")
DURATION = ("a whole number of seconds, minutes or hours such as 10s, 5m or 1h", r"\d+[smh]")
PATH = ("an absolute path without ':' and braces", r"/[^:{}\0\n]*")
NAMED = ("a Kubernetes name: lower-case letters, digits, '-' and '.'", r"([a-z0-9]([-a-z0-9.]*[a-z0-9])?)?")


def _setting(default: Any, text: str, rule: tuple[str, str] = ("", ".*")) -> Any:
    return field(default=default, metadata={"help": text, "rule": rule})


@dataclass(frozen=True)
class ClusterSettings:
    """Baked into the compiled pipeline; a run on a laptop ignores all of it.

    "" leaves a processor, a size, the volume or the secret out. The metadata of each field holds the help of
    its option and the rule for its text: in words and as a regular expression.

    Raises:
        InputError: a value that breaks its rule.
    """

    cpu: str = _setting("2", "Processors of a stage that trains no network.", CPU)
    memory: str = _setting("8Gi", "Its memory, request and limit.", SIZE)
    training_cpu: str = _setting("8", "Processors of a text or image training, and of the prediction.", CPU)
    training_memory: str = _setting("32Gi", "Its memory, request and limit.", SIZE)
    # A pod has 64 MB of it unless more is mounted.
    shared_memory: str = _setting("8Gi", "Its /dev/shm, for data-loader workers.", SIZE)
    retries: int = _setting(
        3, "How often a failed task is tried again; 0 leaves it to the default of the cluster's controller."
    )
    # A wrong path costs the user this wait.
    retry_wait: str = _setting("10s", "Wait before the first retry; it doubles with each.", DURATION)
    training_retry_wait: str = _setting("60s", "The same of a text or image training.", DURATION)
    timeout: int = _setting(6 * 3600, "Seconds that one attempt of a task may take; 0 for no limit.")
    training_timeout: int = _setting(3 * 24 * 3600, "The same of a text or image training.")
    volume: str = _setting(
        "", "PersistentVolumeClaim for weights and checkpoints, mounted into every task.", NAMED
    )
    mount: str = _setting("/mnt/training", "Where it is mounted.", PATH)
    checkpoint_days: int = _setting(
        14, "Days after which checkpoints that no training has touched are removed; 0 keeps them."
    )
    secret: str = _setting(
        "",
        f"Secret with the keys {', '.join((*SECRET_KEYS, *ALERT_KEYS, *REGISTRY_KEYS))}; each may be absent.",
        NAMED,
    )
    cache: bool = _setting(True, "Whether tasks take over the results of equal tasks of earlier runs.")

    def __post_init__(self) -> None:
        for each in fields(self):
            words, pattern = each.metadata["rule"]
            if not re.fullmatch(pattern, value := str(getattr(self, each.name)), re.ASCII):
                raise InputError(f"--{each.name.replace('_', '-')} {value}: expected {words}")
        if not 0 <= self.retries <= MOST_RETRIES:
            raise InputError(f"--retries {self.retries}: expected 0 to {MOST_RETRIES}")
        if min(self.timeout, self.training_timeout, self.checkpoint_days) < 0:
            raise InputError("--timeout, --training-timeout and --checkpoint-days: expected 0 or more")

    @property
    def checkpoints(self) -> str:
        """Where trainings keep what a retry resumes from; "" without a volume."""
        return f"{self.mount}/checkpoints" if self.volume else ""

    def apply(self, task: Any, kubernetes: ModuleType, *, training: bool, keys: tuple[str, ...] = ()) -> None:
        """Sets all of it on one task.

        Args:
            task: a `kfp.dsl.PipelineTask`.
            kubernetes: the module `kfp.kubernetes`.
            training: it runs networks for hours: a stage of `TRAININGS`, a fusion end to end, the prediction.
            keys: of the secret, that this task alone reads.
        """
        self._set_resources(task, kubernetes, training)
        self._set_patience(task, kubernetes, training)
        if not self.cache:
            task.set_caching_options(False)
        kubernetes.set_security_context(task, run_as_non_root=True)
        # By which the network policy in `manifests/` knows the pod.
        kubernetes.add_pod_label(task, "app.kubernetes.io/name", NAME)
        if self.volume:
            kubernetes.mount_pvc(task, self.volume, self.mount)
            if training:
                task.set_env_variable("HF_HOME", f"{self.mount}/weights/huggingface")
                task.set_env_variable(CHECKPOINT_DAYS_VARIABLE, str(self.checkpoint_days))
        if self.secret:
            read = {key: key for key in (*SECRET_KEYS, *keys)}
            kubernetes.use_secret_as_env(task, self.secret, read, optional=True)

    def _set_resources(self, task: Any, kubernetes: ModuleType, training: bool) -> None:
        cpu, memory = (self.training_cpu, self.training_memory) if training else (self.cpu, self.memory)
        if cpu:
            task.set_cpu_request(cpu)
        if memory:
            task.set_memory_request(memory).set_memory_limit(memory)
        if training and self.shared_memory:
            kubernetes.empty_dir_mount(
                task, "shared-memory", "/dev/shm", medium="Memory", size_limit=self.shared_memory
            )

    def _set_patience(self, task: Any, kubernetes: ModuleType, training: bool) -> None:
        timeout = self.training_timeout if training else self.timeout
        wait = self.training_retry_wait if training else self.retry_wait
        if timeout:
            kubernetes.set_timeout(task, timeout)
        if self.retries:
            task.set_retry(self.retries, wait, BACKOFF, self._all_attempts(timeout, wait))

    def _all_attempts(self, timeout: int, wait: str) -> str:
        # Argo's maxDuration bounds all attempts together, and ends the one that runs when it is over.
        if not timeout:
            return NO_LIMIT
        first = int(wait[:-1]) * UNITS[wait[-1]]
        waits = sum(first * BACKOFF**attempt for attempt in range(self.retries))
        return f"{(self.retries + 1) * timeout + int(waits)}s"
