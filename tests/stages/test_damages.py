"""What a run left and somebody damaged is refused with a line, or reads as it was."""

from pathlib import Path

from damages import COUNT, OF_EACH_TABLE, REFUSED, TABLES, WELL, outcomes


def test_no_single_damage_is_silent_or_ends_in_a_traceback(tmp_path: Path):
    ends = list(outcomes(tmp_path, COUNT // 10, seed=1))
    assert len(ends) == COUNT // 10
    assert [each for each in ends if each[2] not in WELL] == []
    assert sum(end == REFUSED for *_, end in ends) > COUNT // 20


def test_no_damage_to_a_table_is_silent_or_ends_in_a_traceback(tmp_path: Path):
    ends = list(outcomes(tmp_path, OF_EACH_TABLE // 10, seed=2, names=TABLES))
    assert len(ends) == len(TABLES) * OF_EACH_TABLE // 10
    assert [each for each in ends if each[2] not in WELL] == []
