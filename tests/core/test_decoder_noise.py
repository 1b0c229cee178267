"""Decoders' complaints stay off the terminal; everybody else's stand."""

from __future__ import annotations

import ctypes
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import pytest

from medimg.core.decoder_noise import quiet, streams
from medimg.core.images import UnreadableImage, unpack_bgr

pytestmark = pytest.mark.skipif(streams() is None, reason="C's standard error can't be had here")


def damaged(suffix: str) -> bytes:
    """A picture whose middle is garbage: the decoder has something to say."""
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    data = bytearray(cv2.imencode(suffix, pixels)[1].tobytes())
    data[len(data) // 2 : len(data) // 2 + 40] = b"\xff\x00\xff\xd3" * 10
    return bytes(data)


def complain(words: str) -> None:
    """What C code prints to its standard error."""
    library = ctypes.CDLL(None)
    library.fputs.argtypes = [ctypes.c_char_p, ctypes.c_void_p]
    library.fflush.argtypes = [ctypes.c_void_p]
    library.fputs(words.encode(), streams()[0])
    library.fflush(None)


def attempt(data: bytes) -> None:
    try:
        unpack_bgr(data)
    except UnreadableImage:
        pass


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
def test_damaged_pictures_are_decoded_in_silence(capfd, suffix):
    data = damaged(suffix)
    cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    assert capfd.readouterr().err  # the decoder itself is not silent
    attempt(data)
    assert capfd.readouterr().err == ""


def test_standard_error_of_others_is_left_alone(capfd):
    with quiet:
        complain("dropped")
        print("a bar", file=sys.stderr)
        with quiet:
            pass
        complain("dropped too")
    complain("heard")
    assert capfd.readouterr().err == "a bar\nheard"


def test_threads_that_decode_at_once(capfd):
    data = damaged(".jpg")
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(attempt, [data] * 400))
    complain("heard")
    assert capfd.readouterr().err == "heard"


@pytest.mark.parametrize("copies", [1, 300], ids=["threads", "processes"])
def test_verify_shows_its_findings_alone(tmp_path, copies):
    for label in "ab":
        (tmp_path / "set" / label).mkdir(parents=True)
        for number in range(copies):
            (tmp_path / "set" / label / f"{number}.jpg").write_bytes(damaged(".jpg"))
    line = [sys.executable, "-m", "medimg", "verify", "set", "--only", "unreadable", "--no-cache"]
    done = subprocess.run([*line, "-q"], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.stderr == "" and (tmp_path / "runs").exists()
