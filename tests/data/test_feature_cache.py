"""Features are computed once a content, whoever asks again."""

import os
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest

from components.data.feature_cache import CHUNK, FeatureCache


class Lengths:
    """Features of bytes: their length and first byte; counts what it was asked for."""

    def __init__(self, contents: list[bytes]) -> None:
        self.contents, self.asked = contents, []

    def __call__(self, places: np.ndarray) -> np.ndarray:
        self.asked += [self.contents[place] for place in places]
        return np.array([[len(self.contents[place]), self.contents[place][0]] for place in places])


def test_a_content_is_computed_once_in_a_run_and_never_again(tmp_path):
    contents = [b"one", b"three", b"one", b"four"]
    first = Lengths(contents)
    features = FeatureCache(tmp_path, "encoder").features(contents, first)
    assert features.dtype == np.float32
    assert features.tolist() == [[3, 111], [5, 116], [3, 111], [4, 102]]
    assert sorted(first.asked) == [b"four", b"one", b"three"]
    more = [b"four", b"seven", b"one"]
    again = Lengths(more)
    assert FeatureCache(tmp_path, "encoder").features(more, again).tolist() == [[4, 102], [5, 115], [3, 111]]
    assert again.asked == [b"seven"]


def test_another_encoder_shares_nothing(tmp_path):
    FeatureCache(tmp_path, "encoder").features([b"one"], Lengths([b"one"]))
    other = Lengths([b"one"])
    FeatureCache(tmp_path, "other").features([b"one"], other)
    assert other.asked == [b"one"]


def test_what_was_computed_before_a_stop_is_kept(tmp_path):
    contents = [str(number).encode() for number in range(CHUNK + 5)]
    lengths = Lengths(contents)

    def stops(places: np.ndarray) -> np.ndarray:
        if len(lengths.asked) >= CHUNK:
            raise SystemExit(143)
        return lengths(places)

    with pytest.raises(SystemExit):
        FeatureCache(tmp_path, "encoder").features(contents, stops)
    rest = Lengths(contents)
    assert FeatureCache(tmp_path, "encoder").features(contents, rest)[:, 0].tolist() == list(
        map(len, contents)
    )
    assert len(rest.asked) == 5


def test_what_a_damaged_file_held_is_computed_again_and_replaced(tmp_path, caplog):
    cache = FeatureCache(tmp_path, "encoder")
    cache.features([b"one"], Lengths([b"one"]))
    (path,) = cache.folder.iterdir()
    path.write_bytes(path.read_bytes()[:20])
    again, third = Lengths([b"one"]), Lengths([b"one"])
    assert cache.features([b"one"], again).tolist() == [[3, 111]]
    assert again.asked == [b"one"]
    assert f"{path.name}: cannot be read" in caplog.text
    cache.features([b"one"], third)
    assert not third.asked


def test_where_nothing_can_be_kept_features_are_computed_all_the_same(tmp_path, caplog):
    (tmp_path / "file").touch()
    features = FeatureCache(tmp_path / "file", "encoder").features([b"one"], Lengths([b"one"]))
    assert features.tolist() == [[3, 111]]
    assert "cannot be kept" in caplog.text


def test_what_was_not_read_for_longest_is_deleted_where_there_is_too_much(tmp_path):
    for age, encoder in enumerate(("newest", "middle", "oldest")):
        cache = FeatureCache(tmp_path, encoder)
        cache.features([b"one"], Lengths([b"one"]))
        (path,) = cache.folder.iterdir()
        seconds = time.time() - 100 * age
        os.utime(path, (seconds, seconds))
    size = path.stat().st_size
    oldest = Lengths([b"one"])
    FeatureCache(tmp_path, "oldest").features([b"one"], oldest)  # read, so that it is the newest now
    assert not oldest.asked
    FeatureCache(tmp_path, "another", largest=3 * size).features([b"one"], Lengths([b"one"]))
    for encoder, asked in (("another", []), ("newest", []), ("oldest", []), ("middle", [b"one"])):
        lengths = Lengths([b"one"])
        FeatureCache(tmp_path, encoder).features([b"one"], lengths)
        assert lengths.asked == asked


def test_two_processes_at_once_leave_features_that_a_third_reads(tmp_path):
    contents = [str(number).encode() for number in range(CHUNK + 50)]
    with ProcessPoolExecutor(2, get_context("spawn")) as pool:
        one, two = pool.map(_features, [tmp_path] * 2, [contents, contents[::-1]])
    assert np.array_equal(one, two[::-1])
    third = Lengths(contents)
    assert np.array_equal(FeatureCache(tmp_path, "encoder").features(contents, third), one)
    assert not third.asked


def _features(folder: Path, contents: list[bytes]) -> np.ndarray:
    return FeatureCache(folder, "encoder").features(contents, Lengths(contents))
