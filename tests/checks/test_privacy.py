"""Metadata that may name a person: the fields are told, their values never."""

from __future__ import annotations

import io
import json
from dataclasses import replace

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

NAME = "Jane Roe"


def jpeg_by(artist: str, pixels: np.ndarray) -> bytes:
    """A JPEG with the EXIF fields of a camera, and an artist where one is given."""
    exif = Image.Exif()
    exif[0x0112], exif[0x011A] = 1, 72.0
    if artist:
        exif[0x013B] = artist
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", exif=exif)
    return file.getvalue()


def png_saying(keyword: str, text: str, pixels: np.ndarray) -> bytes:
    told = PngInfo()
    told.add_text(keyword, text)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG", pnginfo=told)
    return file.getvalue()


def test_fields_that_name_a_person_are_told_without_their_values(planted, noise, run_check):
    files = {
        "a/named.jpg": jpeg_by(NAME, noise(1)),
        "a/plain.jpg": jpeg_by("", noise(2)),
        "b/author.png": png_saying("Author", NAME, noise(3)),
        "b/plain.png": noise(4),
    }
    (finding,) = run_check("private-metadata", planted(files))
    assert (finding.severity, finding.count) == ("warning", 2)
    rows = {row["file"]: row["fields"] for row in finding.items}
    assert sorted(rows) == ["a/named.jpg", "b/author.png"]
    assert all(len(fields) == 1 for fields in rows.values())
    written = json.dumps([finding.message, finding.hint, *finding.items])
    assert all(part not in written for part in NAME.split())
    assert all(fields[0] in finding.message for fields in rows.values())


def test_the_most_telling_file_comes_first_and_fields_are_counted(planted, noise, run_check):
    context = planted({f"{label}/{n}.png": noise(n) for n, label in enumerate("aabb")})
    scan = dict(context.scan)
    scan["a/1.png"] = scan["a/1.png"]._replace(private=("PatientName",))
    scan["b/2.png"] = scan["b/2.png"]._replace(private=("PatientName", "PatientBirthDate"))
    (finding,) = run_check("private-metadata", replace(context, scan=scan))
    assert [row["file"] for row in finding.items] == ["b/2.png", "a/1.png"]
    assert finding.items[0]["fields"] == ["PatientName", "PatientBirthDate"]
    assert "PatientName (2), PatientBirthDate (1)" in finding.message
    assert finding.message.startswith("2 images carry")


def test_a_long_list_of_fields_is_cut(planted, noise, run_check):
    context = planted({f"{label}/1.png": noise(n) for n, label in enumerate("ab")})
    fields = tuple(f"Field{n:02}" for n in range(11))
    scan = dict(context.scan)
    scan["a/1.png"] = scan["a/1.png"]._replace(private=fields)
    (finding,) = run_check("private-metadata", replace(context, scan=scan))
    assert "and 3 more fields" in finding.message
    assert finding.items[0]["fields"] == list(fields)


def test_files_without_such_fields_are_silent(planted, noise, run_check):
    files = {"a/1.jpg": jpeg_by("", noise(1)), "b/2.png": noise(2), "b/3.tif": noise(3)}
    assert run_check("private-metadata", planted(files)) == []


def tiff_saying(description: str, pixels: np.ndarray) -> bytes:
    tags = Image.Exif()
    tags[0x010E] = description
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "TIFF", exif=tags)
    return file.getvalue()


def commented(format: str, comment: bytes, pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format, comment=comment)
    return file.getvalue()


def test_what_programs_write_by_themselves_names_nobody(planted, noise, run_check):
    files = {
        "a/imagej.tif": tiff_saying("ImageJ=1.53t\nimages=1\nunit=mm", noise(1)),
        "a/tifffile.tif": tiff_saying('{"shape": [64, 64]}', noise(2)),
        "a/gimp.jpg": commented("JPEG", b"Created with GIMP", noise(3)),
        "b/gimp.png": png_saying("Comment", "Created with GIMP", noise(4)),
        "b/gimp.gif": commented("GIF", b"Created with GIMP", noise(5)),
    }
    assert run_check("private-metadata", planted(files)) == []


def test_a_name_in_a_comment_is_found(planted, noise, run_check):
    telling = PngInfo()
    telling.add_itxt("Comment", f"Thorax {NAME} 1950", zip=True)
    file = io.BytesIO()
    Image.fromarray(noise(6)).save(file, "PNG", pnginfo=telling)
    files = {
        "a/described.tif": tiff_saying(f"Thorax {NAME}", noise(1)),
        "a/said.jpg": commented("JPEG", f"Created by {NAME}".encode(), noise(3)),
        "b/said.png": png_saying("Comment", NAME, noise(4)),
        "b/packed.png": file.getvalue(),
        "b/said.gif": commented("GIF", NAME.encode(), noise(5)),
    }
    (finding,) = run_check("private-metadata", planted(files))
    assert finding.count == 5 and NAME.split()[0] not in json.dumps(finding.items)
