"""Whether the accelerators that a task asked for are there."""

from components.core.errors import InputError


def check_accelerators(kind: str, count: str) -> int:
    """Stops a training that would go on for days on a CPU because its node has no GPU.

    Args:
        kind: the resource's name that the task asked for, such as "nvidia.com/gpu"; "" for a CPU.
        count: how many, as a string (the driver of Kubeflow Pipelines reads strings alone).

    Returns:
        How many it asked for; 0 on a CPU.

    Raises:
        InputError: torch sees fewer.
    """
    wanted = int(count or 0) if kind else 0
    if not wanted:
        return 0
    # Not at the top: importing torch takes longer than some trainings on a CPU that do without.
    import torch

    seen = torch.cuda.device_count()
    if seen < wanted:
        raise InputError(
            f"the task asked for {wanted} x {kind} but torch sees {seen}: check the node and its driver, "
            "or set cluster_accelerator_type to an empty string to train on the CPU"
        )
    return wanted
