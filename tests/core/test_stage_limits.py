"""A stage that meets a limit of the machine says which, and what to do."""

import errno

import pytest

from components.core.stage import process_of


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "a disk is full: free some space"),
        (MemoryError(), "the memory ran out"),
        (
            RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 9 bytes"),
            "the memory ran out",
        ),
        (RuntimeError("can't start new thread"), "raise the limit of processes"),
        (BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable"), "raise the limit of processes"),
        (OSError(errno.EMFILE, "Too many open files"), "raise the limit of open files"),
    ],
)
def test_a_limit_is_named_with_its_remedy(error: Exception, message: str, capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as ended, process_of("text a"):
        raise error
    assert ended.value.code == 1
    output = capsys.readouterr().out
    assert output.startswith("[text a] error: ")
    assert message in output
    assert "Traceback" not in output


def test_another_error_keeps_its_traceback():
    with pytest.raises(RuntimeError, match="a bug"), process_of("text a"):
        raise RuntimeError("a bug")
