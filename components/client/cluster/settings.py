"""What a stage's pod asks of the cluster: processors, memory, patience, volumes, secrets."""

from dataclasses import dataclass
from types import ModuleType
from typing import Any

from components.core.errors import InputError
from components.core.project import NAME

# S3 and Google credentials under the names that their libraries read.
SECRET_KEYS = {
    "AWS_ACCESS_KEY_ID": "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY": "AWS_SECRET_ACCESS_KEY",
    "AWS_ENDPOINT_URL": "AWS_ENDPOINT_URL",
    "HF_TOKEN": "HF_TOKEN",
}


@dataclass(frozen=True)
class ClusterSettings:
    """Baked into the compiled pipeline; a run on a laptop ignores all of it.

    Sizes and counts are Kubernetes quantities. "" leaves a thing out.
    """

    cpu: str = "2"
    memory: str = "8Gi"
    training_cpu: str = "8"
    training_memory: str = "32Gi"
    # Data-loader workers share tensors there; a pod has 64 MB of it unless more is mounted.
    shared_memory: str = "8Gi"
    retries: int = 3
    # Before the first retry; doubled before each further one, up to an hour.
    retry_wait: str = "60s"
    timeout: int = 6 * 3600
    training_timeout: int = 3 * 24 * 3600
    volume: str = ""
    mount: str = "/mnt/training"
    secret: str = ""
    cache: bool = True

    def __post_init__(self) -> None:
        if self.retries < 0 or self.timeout < 0 or self.training_timeout < 0:
            raise InputError("--retries, --timeout and --training-timeout: expected 0 or more")
        if not self.mount.startswith("/"):
            raise InputError(f"--mount {self.mount!r}: expected an absolute path")

    @property
    def checkpoints(self) -> str:
        """Where trainings keep what a retry goes on from; "" without a volume."""
        return f"{self.mount}/checkpoints" if self.volume else ""

    def apply(self, task: Any, kubernetes: ModuleType, *, training: bool) -> None:
        """Sets all of it on one task.

        Args:
            task: a `kfp.dsl.PipelineTask`.
            kubernetes: the module `kfp.kubernetes`.
            training: it trains for hours: a stage of `TRAININGS`, or a fusion end to end.
        """
        cpu, memory = (self.training_cpu, self.training_memory) if training else (self.cpu, self.memory)
        if cpu:
            task.set_cpu_request(cpu)
        if memory:
            task.set_memory_request(memory).set_memory_limit(memory)
        if self.retries:
            task.set_retry(self.retries, self.retry_wait, 2.0, "3600s")
        if not self.cache:
            task.set_caching_options(False)
        if seconds := self.training_timeout if training else self.timeout:
            kubernetes.set_timeout(task, seconds)
        kubernetes.set_security_context(task, run_as_non_root=True)
        # By which the network policy in `manifests/` knows the pod.
        kubernetes.add_pod_label(task, "app.kubernetes.io/name", NAME)
        if training and self.shared_memory:
            kubernetes.empty_dir_mount(
                task, "shared-memory", "/dev/shm", medium="Memory", size_limit=self.shared_memory
            )
        if self.volume:
            kubernetes.mount_pvc(task, self.volume, self.mount)
            if training:
                task.set_env_variable("HF_HOME", f"{self.mount}/weights/huggingface")
        if self.secret:
            kubernetes.use_secret_as_env(task, self.secret, SECRET_KEYS, optional=True)
