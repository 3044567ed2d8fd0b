"""What a run tells its tasks beside their parameters, by environment variables."""

import os

# Set by `pipeline.py run`: where finished work is kept for the next run into the same folder.
FINISHED_VARIABLE = "FINISHED_STAGES"
DECODED_VARIABLE = "DECODED_IMAGES"  # where its trainings keep the images that they share
LOCK_VARIABLE = "RUN_LOCK"  # the file that is locked as long as that run lives
CHECKPOINT_DAYS_VARIABLE = "PIPELINE_CHECKPOINT_DAYS"  # after which a training's untouched folder is removed
RUN_ID_VARIABLE = "PIPELINE_RUN_ID"  # the run's id; never a parameter, which would end the cache
RUN_FOLDER_VARIABLE = "RUN_FOLDER"  # of a run on this machine: where its results go


def run_id() -> str:
    """The id of the run that this process is a task of; "" where nobody gave it one."""
    return os.environ.get(RUN_ID_VARIABLE, "")
