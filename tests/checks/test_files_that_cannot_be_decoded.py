"""Each kind of broken file: found by its own check, and by `unreadable`, all of them named."""

from __future__ import annotations

import struct
import zlib

import cv2
import pytest


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def bomb(side: int = 40_000) -> bytes:
    """A PNG of some hundred bytes that says it is 40,000 pixels wide and high."""
    header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    pixels = zlib.compress(bytes(100))
    body = chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


@pytest.fixture
def broken(noise):
    """Name to (bytes, the check that names them)."""
    jpeg = cv2.imencode(".jpg", noise(900, 64, 64))[1].tobytes()
    png = cv2.imencode(".png", noise(901, 64, 64))[1].tobytes()
    return {
        "train/a/half.jpg": (jpeg[: len(jpeg) // 2], "truncated"),
        "train/b/half.png": (png[: len(png) // 2], "truncated"),
        "test/a/nothing.png": (b"", "empty-file"),
        "test/b/words.png": (b"this is no picture\n" * 20, "unreadable"),
        "train/a/bomb.png": (bomb(), "decompression-bomb"),
    }


def named(findings) -> set[str]:
    return {row["file"] for finding in findings for row in finding.items}


@pytest.mark.parametrize("name", ["truncated", "empty-file", "decompression-bomb"])
def test_each_kind_is_named_by_its_check(name, planted, run_check, small_set, broken):
    context = planted(small_set | {file: data for file, (data, _) in broken.items()})
    (finding,) = run_check(name, context)
    expected = {file for file, (_, check) in broken.items() if check == name}
    assert (finding.check, finding.severity, finding.count) == (name, "error", len(expected))
    assert named([finding]) == expected
    assert all(row["reason"] for row in finding.items) and finding.hint


def test_unreadable_names_whatever_cannot_be_decoded_but_bombs(
    planted, run_check, small_set, broken
):
    context = planted(small_set | {file: data for file, (data, _) in broken.items()})
    (finding,) = run_check("unreadable", context)
    expected = {file for file, (_, check) in broken.items() if check != "decompression-bomb"}
    assert (finding.severity, finding.count, named([finding])) == ("error", 4, expected)
    assert finding.message.startswith("4 images can't be decoded wholly (of them by their own ch")


def test_one_file_is_told_in_the_singular(planted, run_check, small_set):
    context = planted(small_set | {"train/a/nothing.png": b""})
    (finding,) = run_check("empty-file", context)
    assert finding.message == "1 image is empty: train/a/nothing.png"
    assert finding.items == (
        {
            "file": "train/a/nothing.png",
            "class": "a",
            "split": "train",
            "reason": "the file is empty",
        },
    )
