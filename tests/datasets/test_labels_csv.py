"""The csv layout: reading what people save, asking where only they can know."""

from __future__ import annotations

import csv
import os
import unicodedata

import cv2
import numpy as np
import pytest

from medimg.api import InputError, UsageError
from medimg.datasets.folder import Reader as FolderReader
from medimg.datasets.labels_csv import Reader


@pytest.fixture
def dataset(tmp_path, write_image):
    """Writes tables (name=text or bytes) and images below a folder, and returns it."""

    def make(images, **tables):
        for image in images:
            write_image(tmp_path / image)
        for name, text in tables.items():
            data = text if isinstance(text, bytes) else text.encode()
            (tmp_path / f"{name}.csv").write_bytes(data)
        return tmp_path

    return make


def read(path, **options):
    return Reader().read(path, options)


def labels(index):
    return {s.path: s.label for s in index.samples}


def found(index, check):
    return [f for f in index.findings if f.check == check]


IMAGES = ["im/a.png", "im/b.png", "im/c.png", "im/d.png"]
PLAIN = "image,label\na.png,yes\nb.png,no\nc.png,yes\nd.png,no\n"
EXPECTED = {"im/a.png": "yes", "im/b.png": "no", "im/c.png": "yes", "im/d.png": "no"}


# -- text as people save it ----------------------------------------------------------------------


@pytest.mark.parametrize(
    "data",
    [
        PLAIN.encode(),
        PLAIN.encode("utf-8-sig"),
        PLAIN.encode("utf-16"),
        PLAIN.replace("\n", "\r\n").encode(),
        PLAIN.replace("\n", "\r").encode(),
        PLAIN.replace(",", ";").encode(),
        PLAIN.replace(",", "\t").encode("utf-8-sig"),
        PLAIN.replace(",", " , ").encode(),
        PLAIN.replace("\n", "\n\n").encode(),
        PLAIN.replace("\n", ",\n").encode(),
        PLAIN.split("\n", 1)[1].encode(),
        PLAIN.replace(".png", "").encode(),
        PLAIN.replace("a.png", "../input/x/im/a.png").replace("b.png", r"D:\x\b.png").encode(),
        PLAIN.replace("a.png", "A.PNG").encode(),
        PLAIN.replace("a.png", "im/a.png").encode(),
        PLAIN.replace("yes", "['yes']").replace("no", '"[""no""]"').encode(),
    ],
    ids=["utf8", "bom", "utf16", "crlf", "cr", "semicolon", "tab", "blanks", "empty-lines",
         "trailing-comma", "no-header", "no-extension", "paths-elsewhere", "case", "paths",
         "label-lists"],
)  # fmt: skip
def test_any_usual_text(dataset, data):
    root = dataset(IMAGES, labels=data)
    assert labels(read(root)) == EXPECTED
    assert labels(read(root / "labels.csv")) == EXPECTED


def test_latin1_is_read_and_noted(dataset):
    text = "image;Diagnose;label\na.png;Entzündung;krank\nb.png;keine;gesund\n"
    index = read(dataset(IMAGES[:2], labels=text.encode("latin-1")), label="label")
    assert index.samples[0].columns == {"Diagnose": "Entzündung"}
    (finding,) = found(index, "csv-encoding")
    assert finding.items == ({"file": "labels.csv", "line": 2},) and finding.severity == "info"


@pytest.mark.parametrize(
    ("text", "encoding", "classes"),
    [
        ("image,label\na.png,Entzündung\nb.png,keine\n", "latin-1", ["Entzündung"]),
        ("image,label\na.png,肺炎\nb.png,正常\n", "gbk", ["·ÎÑ×", "Õý³£"]),
    ],
)
def test_classes_that_hang_on_a_guessed_encoding_are_a_warning(dataset, text, encoding, classes):
    index = read(dataset(IMAGES[:2], labels=text.encode(encoding)))
    _, finding = found(index, "csv-encoding")
    assert finding.severity == "warning"
    assert [row["class"] for row in finding.items] == classes


def test_utf8_saved_twice(dataset):
    text = "image,label\na.png,neumonía\nb.png,sano\n"
    index = read(dataset(IMAGES[:2], labels=text.encode().decode("latin-1")))
    (finding,) = found(index, "csv-encoding")
    assert finding.severity == "warning" and finding.items == ({"file": "labels.csv", "line": 2},)
    assert "is neumonía" in finding.message


def test_letters_that_were_lost(dataset):
    index = read(dataset(IMAGES[:2], labels="image,label\na.png,yes\nb.png,k\ufffdin\n"))
    (finding,) = found(index, "csv-encoding")
    assert finding.severity == "warning" and "line 3" in finding.message


@pytest.mark.parametrize("text", [PLAIN, PLAIN.replace("yes", "Entzündung"), "image,label\n"
                                  "a.png,Ação\nb.png,État\nc.png,肺炎\nd.png,ÇÉ\n"])  # fmt: skip
def test_nothing_to_say_about_utf8(dataset, text):
    assert not found(read(dataset(IMAGES, labels=text)), "csv-encoding")


def test_a_quotation_mark_that_is_not_closed(dataset):
    text = 'image,label,notes\na.png,yes,\nb.png,"no,\nc.png,yes,\nd.png,no,\n'
    index = read(dataset(IMAGES, labels=text))
    (finding,) = found(index, "csv-encoding")
    assert finding.severity == "error" and "2 lines are swallowed" in finding.message
    assert finding.items == ({"file": "labels.csv", "line": 3},)
    assert len(index) == 2


def test_a_quotation_mark_that_swallows_a_row_of_the_image_is_told_once(dataset):
    text = 'image,label\na.png,yes\n"b.png,no\nc.png,yes\nd.png,no\n'
    index = read(dataset(IMAGES, labels=text))
    (finding,) = found(index, "csv-encoding")
    assert "labels.csv line 3" in finding.message and "\n" not in finding.message
    assert not found(index, "csv-missing-files")


@pytest.mark.parametrize(
    "text",
    [
        PLAIN,
        "image,label,patient,split,age,note\n"
        'a.png,yes,p1,train,50,\nb.png,no,p2,train,51,"seen, twice"\n'
        "c.png,yes,p3,test,52,x\nd.png,no,p4,test,,y\n",
    ],
    ids=["plain", "all-columns"],
)
def test_a_clean_table_is_silent(dataset, text):
    """Of all the checks that a reader makes none has a word to say."""
    root = dataset(IMAGES, labels=text)
    assert read(root).findings == read(root / "labels.csv").findings == ()


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_accents_as_one_character_or_two(dataset, form):
    """File names that went through macOS have accents of their own."""
    root = dataset([unicodedata.normalize(form, "é.png"), "b.png"],
                   labels="image,label\né.png,yes\nb.png,no\n")  # fmt: skip
    index = read(root)
    assert index.class_counts() == {"yes": 1, "no": 1} and not index.findings


def test_quoted_notes_with_commas_and_line_ends(dataset):
    text = 'image,label,notes\na.png,yes,"seen twice, then\nonce more"\nb.png,no,"x, y"\n'
    index = read(dataset(IMAGES[:2], labels=text))
    assert index.samples[0].columns["notes"] == "seen twice, then\nonce more"
    assert index.samples[1].columns["notes"] == "x, y"


def test_a_row_longer_than_the_header(dataset):
    with pytest.raises(InputError, match="1 row has more cells than the header.*: line 3") as error:
        read(dataset(IMAGES[:2], labels="image,label\na.png,yes\nb.png,no, maybe\n"))
    assert "needs quotes" in error.value.hint


EIGHT = [f"im/{name}.png" for name in "abcdefgh"]
VIEWS = "".join(f"{n}.png,{'yes' if n < 'd' else 'no'},n{n},{'AP' if n < 'f' else 'PA'}\n"
                for n in "abcdefg")  # fmt: skip


@pytest.mark.parametrize(
    ("row", "cells"),
    [
        ("h.png,no,seen,PA,more,and more", {"note": "seen", "view": "PA"}),
        ("h.png,no,one, two,PA", {"note": "one, two", "view": "PA"}),
    ],
    ids=["behind-the-end", "a-delimiter-without-quotes"],
)
def test_a_row_too_long_is_read_where_one_way_fits(dataset, row, cells):
    root = dataset(EIGHT, labels=f"image,label,note,view\n{VIEWS}{row}\n")
    index = read(root, label="label", group="none")
    (finding,) = found(index, "csv-encoding")
    assert (finding.severity, finding.count) == ("warning", 1) and "4)" in finding.message
    assert finding.items == ({"file": "labels.csv", "line": 9},) and "blank" not in finding.message
    (last,) = [s for s in index.samples if s.path == "im/h.png"]
    assert (last.label, last.columns) == ("no", cells)


def test_what_two_ways_of_reading_say_otherwise_is_blank(dataset):
    rows = "".join(f"{n}.png,{'yes' if n < 'd' else 'no'},p{n}\n" for n in "abcdefg")
    root = dataset(EIGHT, labels=f"image,label,patient\n{rows}h.png,no,p8,p9\n")
    index = read(root)
    (last,) = [s for s in index.samples if s.path == "im/h.png"]
    assert (last.label, last.group) == ("no", None)
    assert "in 1 row a cell is read as blank" in found(index, "csv-encoding")[0].message


UNCLEAR = "h.png,no or yes, maybe,nh,PA"


def test_a_class_that_no_other_row_has_is_not_made_of_a_long_row(dataset):
    """Its row is named and left out; the others are read as if it were not there."""
    root = dataset(EIGHT, labels=f"image,label,note,view\n{VIEWS}{UNCLEAR}\n")
    index = read(root)
    (finding,) = found(index, "csv-encoding")
    assert (finding.severity, finding.count) == ("warning", 1)
    assert "can't be told" in finding.message and "left out" in finding.message
    assert finding.items == ({"file": "labels.csv", "line": 9},)
    assert "needs quotes" in finding.hint
    without = read(dataset(EIGHT, labels=f"image,label,note,view\n{VIEWS}"))
    assert index.samples == without.samples and len(index) == 7
    assert "im/h.png" not in {s.path for s in index.samples}


def test_rows_that_are_read_and_left_out_are_told_apart(dataset):
    rows = VIEWS + UNCLEAR + "\nh.png,no,one, two,PA\n"
    index = read(dataset(EIGHT, labels=f"image,label,note,view\n{rows}"), label="label")
    lines = {f.message.rpartition(": ")[2]: [i["line"] for i in f.items]
             for f in found(index, "csv-encoding")}  # fmt: skip
    assert lines == {"read as the other rows have it": [10], "left out": [9]}


def test_a_table_with_many_rows_that_are_too_long_is_not_understood(dataset):
    many = "".join(f"{n}.png,{'yes' if n % 2 else 'no'},n{n}\n" for n in range(57))
    broken = "57.png,odd, one,n\n58.png,odd, two,n\n59.png,odd, three,n\n"
    names = [f"im/{n}.png" for n in range(100)]
    index = read(dataset(names, labels=f"image,label,note\n{many}{broken}"))
    assert len(index) == 57 and found(index, "csv-encoding")[0].count == 3
    few = "".join(many.splitlines(keepends=True)[:20])
    with pytest.raises(InputError, match="3 rows have.* can't be told: lines 22, 23, 24"):
        read(dataset(names, labels=f"image,label,note\n{few}{broken}"))


def test_a_column_that_has_no_heading_is_told(dataset):
    with pytest.raises(InputError, match=r"every row has more cells \(3\)") as error:
        read(dataset(IMAGES[:2], labels="image,label\n1,a.png,yes\n2,b.png,no\n"))
    assert "a name" in error.value.hint


def test_rows_shorter_than_the_header_are_named(dataset):
    text = "image,label,sex,view\na.png,yes,f,AP\nb.png,no\n"
    (finding,) = found(read(dataset(IMAGES[:2], labels=text)), "csv-encoding")
    assert (finding.severity, finding.count) == ("warning", 1)
    assert finding.items == ({"file": "labels.csv", "line": 3},)
    every = "image,label,sex,view\na.png,yes\nb.png,no\n"
    assert not found(read(dataset(IMAGES[:2], labels=every)), "csv-encoding")


@pytest.mark.parametrize(
    "above",
    ["My study,\n", "My study\n", "# exported from X\n", "# by X, of 2020\n\n", "One\nTwo\n\n"],
)
@pytest.mark.parametrize("delimiter", [",", ";"])
def test_titles_and_remarks_above_the_header_are_left_out(dataset, above, delimiter):
    index = read(dataset(IMAGES, labels=(above + PLAIN).replace(",", delimiter)))
    assert labels(index) == EXPECTED
    (finding,) = found(index, "csv-encoding")
    assert (finding.severity, finding.count) == (
        "info",
        len(above.splitlines()) - ("\n\n" in above),
    )
    assert above.split("\n")[0].strip(",").replace(",", delimiter) in finding.message


def test_a_title_above_a_table_that_a_spreadsheet_saved(dataset):
    text = "My study,,,\n,,,\n" + PLAIN.replace("\n", ",,\n")
    index = read(dataset(IMAGES, labels=text))
    assert labels(index) == EXPECTED
    assert [f.items for f in index.findings] == [({"file": "labels.csv", "line": 1},)]


def test_lines_are_counted_from_the_top_of_the_file(dataset):
    index = read(dataset(IMAGES[:3], labels="A title\n\n" + PLAIN))
    (finding,) = found(index, "csv-missing-files")
    assert finding.items == ({"file": "d.png", "line": 7},)


@pytest.mark.parametrize(
    "header",
    ["image,\n", ",label\n", "#image,label\n", "image,label,\n", "\n\nimage,label\n"],
)
def test_a_header_of_which_cells_are_blank_is_no_title(dataset, header):
    rows = "a,yes\nb,no\nc,yes\nd,no\n"
    index = read(dataset(IMAGES, labels=header + rows))
    assert labels(index) == EXPECTED and not found(index, "csv-encoding")


def test_a_first_line_that_may_be_anything_is_told(dataset):
    with pytest.raises(InputError) as error:
        read(dataset(IMAGES[:2], labels="exported\nimage,1\na.png,yes\nb.png,no\n"))
    assert "title or a remark" in error.value.hint


@pytest.mark.parametrize(
    ("data", "message"),
    [(b"", "is empty"), (b"image,label\n", "no rows"), (b"\x89PNG\0\0\0", "no text file")],
)
def test_no_table(dataset, data, message):
    with pytest.raises(InputError, match=message):
        read(dataset(IMAGES, labels=data))


def test_no_header_and_no_extension(dataset):
    with pytest.raises(UsageError, match="no header: its first line names an image .001"):
        read(dataset(["001.png", "002.png", "003.png"], labels="001,x\n002,y\n003,x\n"))


def test_headings_that_stand_twice(dataset):
    index = read(dataset(IMAGES[:2], labels="image,label,n,n\na.png,yes,1,2\nb.png,no,3,4\n"))
    assert index.samples[0].columns == {"n.1": "1", "n.2": "2"}
    index = read(dataset(IMAGES[:2], labels="image,label,n,n\na.png,yes,1,1\nb.png,no,3,3\n"))
    assert index.samples[0].columns == {"n": "1"}


def test_two_columns_called_like_the_label_are_asked_about(dataset):
    rows = "a.png,x,p\nb.png,y,q\nc.png,x,q\nd.png,y,p\n"
    root = dataset(IMAGES, labels="image,dx,dx\n" + rows)
    with pytest.raises(UsageError) as error:
        read(root)
    assert error.value.message == (
        "which column of labels.csv is the label? It could be dx.1 (x, y), dx.2 (p, q)"
    )
    assert error.value.hint == "Say which: -o label=dx.1"
    with pytest.raises(UsageError, match=r"2 columns of labels.csv are called 'dx': dx.1 .x, y.,"):
        read(root, label="dx")
    assert read(root, label="dx.1").classes == ("x", "y")
    assert read(root, label="dx.2").classes == ("p", "q")


def test_a_label_that_stands_twice_and_says_the_same_is_no_question(dataset):
    rows = "a.png,x,x\nb.png,y,y\nc.png,x,x\nd.png,y,y\n"
    index = read(dataset(IMAGES, labels="image,dx,dx\n" + rows))
    assert index.classes == ("x", "y") and not index.findings


def test_two_patient_columns_of_one_name_are_asked_about(dataset):
    rows = "a.png,x,1,5\nb.png,y,2,6\nc.png,x,3,5\nd.png,y,4,6\n"
    root = dataset(IMAGES, labels="image,dx,patient,patient\n" + rows)
    with pytest.raises(UsageError, match="which column of labels.csv names the patients"):
        read(root)
    assert read(root, group="patient.2").groups() == ("5", "6")


def test_a_label_column_that_is_not_there_is_no_reason_to_name_the_patients(dataset):
    rows = "1,a.png,m,x\n2,b.png,f,y\n3,c.png,m,x\n4,d.png,f,y\n"
    root = dataset(IMAGES, labels="ID,image,sex,dx\n" + rows)
    with pytest.raises(UsageError) as error:
        read(root, label="nope")
    assert error.value.message == "labels.csv has no column 'nope' (found: ID, image, sex, dx)"
    assert error.value.hint == "Say which column holds the label: -o label=dx"


# -- images --------------------------------------------------------------------------------------


@pytest.mark.parametrize("cells", [("1", "2", "12"), ("1.0", "2.0", "12.0"), ("001", "2", "0012")])
def test_ids_without_zero_padding(dataset, cells):
    root = dataset(
        ["x/001.bmp", "x/002.bmp", "x/012.bmp"],
        labels="ID,label\n" + "".join(f"{c},{i % 2}\n" for i, c in enumerate(cells)),
    )
    assert labels(read(root)) == {"x/001.bmp": "0", "x/002.bmp": "1", "x/012.bmp": "0"}


def test_a_number_in_the_label_is_no_image(dataset):
    rows = "".join(f"{i},{i % 3}\n" for i in range(1, 10))
    index = read(dataset([f"{i:03}.png" for i in range(1, 10)], labels="id,class\n" + rows))
    assert index.class_counts() == {"0": 3, "1": 3, "2": 3}


def test_names_that_stand_in_two_folders(dataset):
    root = dataset(["one/a.png", "two/a.png", "one/b.png"],
                   labels="image,label\na.png,x\nb.png,y\n")  # fmt: skip
    with pytest.raises(InputError, match="'a.png' names 2 images") as error:
        read(root)
    assert "-o images=FOLDER" in error.value.hint
    with pytest.raises(InputError, match="2 images"):
        read(root, image="image")
    (root / "labels.csv").write_text("image,label\ntwo/a.png,x\nb.png,y\n")
    assert labels(read(root)) == {"two/a.png": "x", "one/b.png": "y"}


def test_images_elsewhere(dataset, tmp_path):
    root = dataset(["pictures/a.png", "pictures/b.png", "tables/.keep.png"])
    (root / "tables" / "t.csv").write_text("image,label\na,yes\nb,no\n")
    index = read(root / "tables" / "t.csv", images=str(root / "pictures"))
    assert labels(index) == {"../pictures/a.png": "yes", "../pictures/b.png": "no"}
    assert index.source.read("../pictures/a.png") == (root / "pictures/a.png").read_bytes()
    with pytest.raises(InputError, match="images folder nowhere does not exist"):
        read(root / "tables" / "t.csv", images="nowhere")


def test_rows_without_image_and_images_without_row(dataset):
    index = read(dataset(IMAGES, labels="image,label\na.png,x\nb.png,y\nz.png,x\n,y\n"))
    assert len(index) == 2
    (missing,) = found(index, "csv-missing-files")
    assert (missing.severity, missing.count) == ("warning", 2)
    assert missing.items == ({"file": "z.png", "line": 4}, {"file": "", "line": 5})
    (unlisted,) = found(index, "csv-unlisted-files")
    assert [i["file"] for i in unlisted.items] == ["im/c.png", "im/d.png"]


def test_no_image_that_the_table_names(dataset):
    root = dataset([], labels=PLAIN)
    with pytest.raises(InputError, match=r"no image of labels.csv exists under .*image=a.png"):
        read(root)
    with pytest.raises(InputError, match="no image of labels.csv exists under .* names a.png"):
        read(root, image="image", label="label")
    with pytest.raises(InputError, match="no column of labels.csv names an image"):
        read(dataset(["other.png"]))


def test_two_columns_that_name_other_images(dataset):
    text = "left,right,label\na.png,b.png,x\nc.png,d.png,y\n"
    root = dataset(IMAGES, labels=text)
    with pytest.raises(UsageError, match="which column of labels.csv names the image") as error:
        read(root)
    assert error.value.hint == "Say which: -o image=left"
    assert labels(read(root, image="right")) == {"im/b.png": "x", "im/d.png": "y"}


def test_the_column_that_differs_in_every_row_is_the_image(dataset):
    text = "left,right,file,label\na.png,b.png,a.png,x\na.png,b.png,b.png,y\nc.png,d.png,c.png,x\n"
    index = read(dataset(IMAGES, labels=text + "c.png,d.png,d.png,y\n"))
    assert labels(index) == {"im/a.png": "x", "im/b.png": "y", "im/c.png": "x", "im/d.png": "y"}


def make_pairs(root, write_image, suffixes, masks):
    for i in range(1, 7):
        for suffix, mask in zip(suffixes, masks, strict=True):
            file = write_image(root / f"x/{i:03}{suffix}", size=(40, 40))
            if mask:
                cv2.imwrite(str(file), np.arange(1600).reshape(40, 40) % 3 * 100)
    rows = "".join(f"{i},{i % 2}\n" for i in range(1, 7))
    (root / "labels.csv").write_text("id,label\n" + rows)


def test_masks_with_the_images_names(tmp_path, write_image):
    make_pairs(tmp_path, write_image, (".bmp", ".png"), (False, True))
    index = read(tmp_path)
    assert [s.path for s in index.samples] == [f"x/{i:03}.bmp" for i in range(1, 7)]
    (finding,) = found(index, "stray-files")
    assert finding.count == 6 and "-o extension=.png" in finding.hint
    assert not found(index, "csv-unlisted-files")


def test_a_mask_whose_image_is_missing_is_no_image(tmp_path, write_image):
    make_pairs(tmp_path, write_image, (".bmp", ".png"), (False, True))
    (tmp_path / "x/003.bmp").unlink()
    index = read(tmp_path)
    assert [s.path for s in index.samples] == [f"x/{i:03}.bmp" for i in (1, 2, 4, 5, 6)]
    assert found(index, "csv-missing-files")[0].items == ({"file": "3", "line": 4},)


@pytest.mark.parametrize("masks", [(False, False), (True, True)])
def test_pictures_of_one_name_are_asked_about(tmp_path, write_image, masks):
    make_pairs(tmp_path, write_image, (".bmp", ".png"), masks)
    with pytest.raises(UsageError, match="differ in extension: x/001.bmp, x/001.png") as error:
        read(tmp_path)
    assert error.value.hint == "Say which are meant: -o extension=.bmp"
    index = read(tmp_path, extension=".png")
    assert [s.path for s in index.samples] == [f"x/{i:03}.png" for i in range(1, 7)]


# -- labels --------------------------------------------------------------------------------------


def test_several_label_columns_are_asked_about(dataset):
    text = "image,dx,diagnosis\na.png,x,p\nb.png,y,p\nc.png,x,q\nd.png,y,q\n"
    root = dataset(IMAGES, labels=text)
    with pytest.raises(UsageError) as error:
        read(root)
    assert error.value.message == (
        "which column of labels.csv is the label? It could be dx (x, y), diagnosis (p, q)"
    )
    assert error.value.hint == "Say which: -o label=dx"
    assert read(root, label="diagnosis").class_counts() == {"p": 2, "q": 2}


def test_another_label_column_that_says_otherwise(dataset):
    text = "image,label,diagnosis\na.png,x,y\nb.png,y,y\nc.png,x,x\nd.png,y,y\n"
    index = read(dataset(IMAGES, labels=text), label="label")
    (finding,) = found(index, "several-label-columns")
    assert (finding.severity, finding.count) == ("warning", 1)
    assert finding.items == ({"file": "im/a.png", "class": "x", "says": ["y"]},)
    assert "'diagnosis' could be labels too and say otherwise for 1 image" in finding.message
    assert finding.hint == "If these are meant: -o label=diagnosis"


def test_a_second_reader_who_knows_a_class_more(dataset):
    text = "image,reader1,reader2\na.png,x,TB\nb.png,y,y\nc.png,x,x\nd.png,y,x\n"
    (finding,) = found(read(dataset(IMAGES, labels=text), label="reader1"), "several-label-columns")
    assert (finding.severity, finding.count) == ("warning", 2)
    assert [row["says"] for row in finding.items] == [["TB"], ["x"]]


@pytest.mark.parametrize(
    ("last", "hint"),
    [
        ("0,0,1", "-o label=N,D,G where each column is a class, or -o label=N"),
        (",,", "-o label=N,D,G where each column is a class, or -o label=N"),
        ("0,1,1", "-o label=N for a class against the rest (several of N,D,G are marked in 1 row)"),
        ("0,0,0", "-o label=N for a class against the rest (none of N,D,G is marked in 1 row)"),
    ],
)
def test_a_block_is_offered_where_it_can_be_read(dataset, last, hint):
    names = [f"{number}.png" for number in range(20)]
    marks = [("1,0,0", "0,1,0", "0,0,1")[n % 3] for n in range(19)] + [last]
    rows = [f"{name},{mark}" for name, mark in zip(names, marks, strict=True)]
    root = dataset([f"im/{n}" for n in names], labels="\n".join(["image,N,D,G", *rows]))
    with pytest.raises(UsageError, match="is the label") as error:
        read(root)
    assert error.value.hint == f"Say which: {hint}"
    offered = hint.partition("-o label=")[2].split()[0].rstrip(",")
    assert len(read(root, label=offered)) == (19 if last == ",," else 20)


def test_a_block_of_classes_that_says_otherwise(dataset):
    text = "image,label,N,D,G\na.png,N,1,0,0\nb.png,D,0,1,1\nc.png,G,0,1,0\nd.png,D,0,1,0\n"
    index = read(dataset(IMAGES, labels=text), label="label")
    (finding,) = found(index, "several-label-columns")
    assert finding.items == ({"file": "im/c.png", "class": "G", "says": ["D"]},)
    assert "several labels" in finding.hint


def test_another_label_column_with_other_classes_is_information(dataset):
    text = "image,label,finding\na.png,x,1\nb.png,y,1\nc.png,x,2\nd.png,y,2\n"
    (finding,) = found(read(dataset(IMAGES, labels=text), label="label"), "several-label-columns")
    assert (finding.severity, finding.items) == ("info", ({"column": "finding"},))


@pytest.mark.parametrize(
    "columns",
    [
        "label,dx\na.png,x,1\nb.png,y,2\nc.png,x,1\nd.png,y,2\n",
        'label,target\na.png,x,"[1, 0]"\nb.png,y,"[0, 1]"\nc.png,x,"[1, 0]"\nd.png,y,"[0, 1]"\n',
        "label,sex,age\na.png,x,f,40\nb.png,y,m,40\nc.png,x,m,50\nd.png,y,f,50\n",
        "label,flag\na.png,0,1\nb.png,1,1\nc.png,0,0\nd.png,1,0\n",
    ],
    ids=["in other words", "one-hot in a cell", "no labels", "0 and 1"],
)  # fmt: skip
def test_columns_that_are_no_other_label(dataset, columns):
    index = read(dataset(IMAGES, labels=f"image,{columns}"), label="label")
    assert not found(index, "several-label-columns")


def test_no_column_called_like_a_label_is_asked_about(dataset):
    text = "image,marker,sex\na.png,x,m\nb.png,y,m\nc.png,x,f\nd.png,y,f\n"
    with pytest.raises(UsageError, match=r"could be marker \(x, y\), sex \(m, f\)"):
        read(dataset(IMAGES, labels=text))


def test_columns_that_say_the_same_are_no_question(dataset):
    text = "image,class,label\na.png,0,no\nb.png,1,yes\nc.png,1,yes\nd.png,0,no\n"
    assert read(dataset(IMAGES, labels=text)).classes == ("no", "yes")


def test_the_only_other_column_is_the_label(dataset):
    assert read(dataset(IMAGES, labels=PLAIN.replace("label", "zzz"))).classes == ("no", "yes")


def test_a_split_or_patient_column_is_no_label(dataset):
    text = "image,zzz,set,patient\na.png,x,train,1\nb.png,y,train,1\nc.png,x,test,2\n"
    index = read(dataset(IMAGES[:3], labels=text))
    assert index.classes == ("x", "y") and index.splits() == ("train", "test")


def test_findings_of_which_a_row_has_several(dataset):
    rows = "".join(f"{i}.png,{'|'.join('ABCDEFG'[j] for j in range(7) if i >> j & 1)}\n"
                   for i in range(1, 128))  # fmt: skip
    root = dataset([f"{i}.png" for i in range(1, 128)], labels="image,Finding Labels\n" + rows)
    with pytest.raises(UsageError, match="line 4 has 2 labels in column 'Finding Labels': A and B"):
        read(root)


def test_free_text_is_no_label(dataset):
    names = [f"{i}.png" for i in range(12)]
    rows = "".join(f"{n},note {n},{i % 2}\n" for i, n in enumerate(names))
    index = read(dataset(names, labels="image,findings,label\n" + rows))
    assert index.classes == ("0", "1")


def test_one_hot_columns_are_asked_about_and_read_when_named(dataset):
    text = "image,MEL,NV,BCC\na.png,1,0,0\nb.png,0,1.0,0\nc.png,0,0,1\nd.png,0,1,0\n"
    root = dataset(IMAGES, labels=text)
    with pytest.raises(UsageError, match="is the label") as error:
        read(root)
    assert "-o label=MEL,NV,BCC" in error.value.hint
    index = read(root, label="MEL,NV,BCC")
    assert [s.label for s in index.samples] == ["MEL", "NV", "BCC", "NV"]


@pytest.mark.parametrize(
    ("row", "said"), [("1,1,0", "2 of"), ("0,0,0", "none of"), ("x,0,0", "'x'")]
)
def test_one_hot_rows_that_name_no_single_class(dataset, row, said):
    text = f"image,MEL,NV,BCC\na.png,1,0,0\nb.png,{row}\n"
    with pytest.raises(UsageError, match=f"labels.csv line 3.*{said}"):
        read(dataset(IMAGES[:2], labels=text), label="MEL,NV,BCC")


@pytest.mark.parametrize(
    "cell", ["\"['x', 'y']\"", "x|y", "x;y", "x; y", '"x, y"', "x + y", "x and y", "[x; y]"]
)
def test_two_labels_in_a_cell_are_an_error(dataset, cell):
    text = f"image,label\na.png,x\nb.png,y\nc.png,x\nd.png,{cell}\n"
    with pytest.raises(UsageError, match="labels.csv line 5 has 2 labels .*'label': x and y"):
        read(dataset(IMAGES, labels=text))


def test_a_separator_inside_a_name_is_part_of_it(dataset):
    text = 'image,label\na.png,"carcinoma, ductal"\nb.png,no/unknown\nc.png,black and white\n'
    assert read(dataset(IMAGES[:3], labels=text)).classes == (
        "black and white", "carcinoma, ductal", "no/unknown"
    )  # fmt: skip


def test_a_list_of_numbers_names_no_class(dataset):
    text = 'image,target\na.png,"[1, 0]"\nb.png,"[0, 1]"\n'
    with pytest.raises(UsageError, match="list of 0 and 1"):
        read(dataset(IMAGES[:2], labels=text), label="target")


def test_blank_labels_are_unlabelled(dataset):
    index = read(dataset(IMAGES, labels="image,label\na.png,1.0\nb.png,\nc.png,nan\nd.png,0.0\n"))
    assert labels(index) == {"im/a.png": "1", "im/d.png": "0"}
    assert [s.path for s in index.unlabelled] == ["im/b.png", "im/c.png"]
    (finding,) = found(index, "missing-labels")
    assert (finding.severity, finding.count) == ("warning", 2)


@pytest.mark.parametrize(
    ("options", "message", "hint"),
    [
        ({"group": "patient"}, "labels.csv has no column 'patient' (found: id, image, dx)",
         "Say which column holds the group: -o group=id, or -o group=none when there is none"),
        ({"label": "DX2"}, "labels.csv has no column 'DX2' (found: id, image, dx)",
         "Did you mean 'dx'? Say which column holds the label: -o label=dx"),
    ],
)  # fmt: skip
def test_a_column_that_is_not_there(dataset, options, message, hint):
    root = dataset(IMAGES[:2], labels="id,image,dx\n1,a.png,x\n2,b.png,y\n")
    with pytest.raises(UsageError) as error:
        read(root, **options)
    assert (error.value.message, error.value.hint) == (message, hint)


def test_an_unknown_option(dataset):
    with pytest.raises(UsageError, match="no option 'lable'") as error:
        read(dataset(IMAGES, labels=PLAIN), lable="label")
    assert error.value.hint in ("Did you mean 'label'?", "Did you mean 'labels'?")


def test_classes_narrow(dataset):
    text = "image,label\na.png,x\nb.png,y\nc.png,z\nd.png,x\n"
    index = read(dataset(IMAGES, labels=text), classes="x,y")
    assert index.class_counts() == {"x": 2, "y": 1}


# -- rows that repeat ----------------------------------------------------------------------------


def test_repeated_rows(dataset):
    index = read(dataset(IMAGES[:2], labels="image,label\na.png,x\na,x\na.png,x\nb.png,y\n"))
    assert len(index) == 2
    (finding,) = found(index, "csv-duplicate-rows")
    assert (finding.count, finding.severity) == (2, "warning")
    assert finding.items == ({"file": "im/a.png", "copies": 3},)


def test_one_image_with_two_labels(dataset):
    index = read(dataset(IMAGES, labels="image,label\na.png,x\na.png,y\nb.png,y\nc.png,x\n"))
    assert "im/a.png" not in labels(index)
    (finding,) = found(index, "csv-contradictions")
    assert finding.severity == "error" and finding.count == 1
    assert finding.items == ({"file": "im/a.png", "classes": ["x", "y"]},)


def test_one_image_with_two_patients(dataset):
    text = "image,label,patient\na.png,x,1\na.png,x,2\nb.png,y,3\n"
    index = read(dataset(IMAGES[:2], labels=text))
    assert found(index, "csv-contradictions")[0].items == ({"file": "im/a.png"},)
    assert labels(index) == {"im/b.png": "y"}


# -- patients and splits -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    ["patient", "PatientID", "patient_id", "Patient Id", "Patient-ID", "PatNr", "pat_no", "subject",
     "USUBJID", "participant_id", "group"],
)  # fmt: skip
def test_patient_columns_with_unmistakable_names(dataset, name):
    text = f"image,label,{name}\na.png,x,p1\nb.png,y,p1\nc.png,x,p2\nd.png,y,\n"
    index = read(dataset(IMAGES, labels=text))
    assert [s.group for s in index.samples] == ["p1", "p1", "p2", None]
    assert index.patients == f"column '{name}'"
    assert read(dataset(IMAGES), group="none").patients == ""


def test_a_column_that_may_name_patients_is_suggested(dataset):
    names = [f"{i}.jpg" for i in range(40)]
    rows = "".join(f"{n},{i % 2},{i // 2}\n" for i, n in enumerate(names))
    index = read(dataset(names, labels="image,label,lesion_id\n" + rows))
    assert index.patients is None and index.groups() == ()
    (finding,) = found(index, "patient-ids-unusable")
    assert finding.severity == "info" and finding.hint == "If it does: -o group=lesion_id"
    assert len(read(dataset(names), group="lesion_id").groups()) == 20
    by_name = read(dataset(names), group_regex=r"(\d)\d?\.jpg")
    assert len(by_name.groups()) == 10


@pytest.mark.parametrize(("name", "taken"), [("PID", True), ("mrn", True), ("case", False)])
def test_names_that_are_patients_where_they_come_again(dataset, name, taken):
    names = [f"{i}.jpg" for i in range(40)]
    header = f"image,label,{name}\n"
    twice = "".join(f"{n},{i % 2},{i // 2}\n" for i, n in enumerate(names))
    assert len(read(dataset(names, labels=header + twice)).groups()) == (20 if taken else 0)
    once = "".join(f"{n},{i % 2},{i}\n" for i, n in enumerate(names))
    assert read(dataset(names, labels=header + once), image="image").groups() == ()
    # a case or a control
    either = "".join(f"{n},{i % 2},{i % 2}\n" for i, n in enumerate(names))
    assert read(dataset(names, labels=header + either), label="label").groups() == ()


def test_the_split_column_by_its_values(dataset):
    text = "image,label,Type\na.png,x,TRAIN\nb.png,y,Training\nc.png,x,valid\nd.png,y,TEST\n"
    index = read(dataset(IMAGES, labels=text))
    assert [s.split for s in index.samples] == ["train", "train", "val", "test"]
    assert read(dataset(IMAGES), split="none").splits() == ()


def test_a_split_that_is_none(dataset):
    text = "image,label,fold\na.png,x,1\nb.png,y,2\n"
    assert read(dataset(IMAGES[:2], labels=text), label="label").splits() == ()
    with pytest.raises(UsageError, match="line 2: '1' in column 'fold' is no split"):
        read(dataset(IMAGES[:2]), label="label", split="fold")


# -- several tables ------------------------------------------------------------------------------


def test_a_table_a_split(dataset):
    root = dataset(["train/1.png", "train/2.png", "test/1.png", "test/2.png"],
                   my_train="image,label\n1.png,x\n2.png,y\n",
                   my_test="image,label\n1.png,y\n2.png,x\n",
                   sample_submission="image,label\n1.png,x\n")  # fmt: skip
    index = read(root)
    assert [(s.path, s.label, s.split) for s in index.samples] == [
        ("test/1.png", "y", "test"), ("test/2.png", "x", "test"),
        ("train/1.png", "x", "train"), ("train/2.png", "y", "train"),
    ]  # fmt: skip
    assert "sample_submission.csv was not read" in found(index, "stray-files")[0].message


def test_a_test_table_without_labels(dataset):
    root = dataset(IMAGES, train="image,label\na.png,x\nb.png,y\n", test="image\nc.png\nd.png\n")
    index = read(root)
    assert len(index) == 2 and len(index.unlabelled) == 2


def test_tables_that_agree(dataset):
    root = dataset(IMAGES, full=PLAIN + "zz.png,yes\n", part=PLAIN, unrelated="x,y\n1,2\n")
    index = read(root)
    assert labels(index) == EXPECTED and not found(index, "csv-missing-files")
    assert "part.csv was read" in found(index, "stray-files")[0].message
    assert found(read(root, labels="full.csv"), "csv-missing-files")[0].count == 1


@pytest.mark.parametrize(
    "other", [PLAIN.replace("a.png,yes", "a.png,no"), "image,label\nd.png,no\n"]
)
def test_tables_that_do_not_agree_are_asked_about(dataset, other):
    one = PLAIN if "yes" in other else "image,label\na.png,yes\nb.png,no\n"
    with pytest.raises(UsageError, match="several CSV files") as error:
        read(dataset(IMAGES, one=one, two=other))
    assert error.value.hint.startswith("Say which: -o labels=")


def test_a_table_that_is_not_there(dataset):
    with pytest.raises(InputError, match="the table x.csv does not exist .*labels.csv"):
        read(dataset(IMAGES, labels=PLAIN), labels="x.csv")


# -- how sure ------------------------------------------------------------------------------------


def surer(root):
    csv, folder = Reader().sniff(root).confidence, FolderReader().sniff(root).confidence
    return "csv" if csv > folder else "folder" if folder > csv else "neither"


def test_a_table_beside_parts_of_a_download(dataset):
    rows = "".join(f"{i},{'mel' if i % 2 else 'nv'}\n" for i in range(20))
    images = [f"images_part_{i % 2 + 1}/{i}.png" for i in range(20)]
    assert surer(dataset(images, metadata="image_id,dx\n" + rows)) == "csv"


def test_sites_are_no_classes_where_a_table_has_labels(dataset):
    rows = "".join(f"{i}.png,{'mel' if i % 3 else 'nv'}\n" for i in range(20))
    images = [f"site{'AB'[i % 2]}/{i}.png" for i in range(20)]
    assert surer(dataset(images, t="image,dx\n" + rows)) == "csv"


def test_a_question_is_asked_rather_than_one_class_read(dataset):
    other = PLAIN.replace("a.png,yes", "a.png,no")
    assert surer(dataset(IMAGES, one=PLAIN, two=other)) == "csv"
    assert surer(dataset([], one="image,label\na.png\n", two="x,y\n1,2,3\n")) == "csv"


def test_a_table_beside_class_folders_without_labels(dataset):
    rows = "".join(f"{i}.png,{20 + i},{'mf'[i % 2]}\n" for i in range(20))
    images = [f"{'AB'[i % 2]}/{i}.png" for i in range(20)]
    assert surer(dataset(images, people="image,age,sex\n" + rows)) == "folder"


def test_an_index_of_our_own_in_a_folder_does_not_shadow_it(dataset):
    text = "image,label,group,split\nA/1.png,A,,\n"
    assert surer(dataset(["A/1.png", "B/2.png"], clean=text)) == "folder"


def test_a_lone_table_does_not_list_its_folder(dataset, monkeypatch):
    root = dataset(IMAGES, labels="image,label\nim/a.png,yes\nim/b.png,no\n")
    monkeypatch.setattr("medimg.datasets._pictures.read_tree", None)
    index = read(root / "labels.csv", image="image", label="label")
    assert len(index) == 2 and index.strays == ()


# -- real samples --------------------------------------------------------------------------------

ODIR = {"A": 20, "C": 26, "D": 165, "G": 26, "H": 16, "M": 28, "N": 300, "O": 78}


def test_odir(shared_data):
    root = shared_data / "odir_fundus_csv"
    index = read(root, image="filename", label="labels", group="ID")
    assert len(index) == 659 and index.class_counts() == ODIR
    assert len(index.groups()) == 350 and index.patients == "column 'ID'"
    assert surer(root) == "csv"


def test_odir_has_labels_of_patients_beside_those_of_eyes(shared_data):
    index = read(shared_data / "odir_fundus_csv", label="labels", group="ID")
    (finding,) = found(index, "several-label-columns")
    assert finding.severity == "warning" and finding.count == len(finding.items) > 50
    assert "several labels (full_df.csv line 2: D and O)" in finding.hint


def test_odir_asks_for_the_label(shared_data):
    root = shared_data / "odir_fundus_csv"
    with pytest.raises(UsageError, match="which column of full_df.csv is the label") as error:
        read(root)
    # rows mark several of N, D, …, so that these are not offered as classes
    with (root / "full_df.csv").open(newline="") as file:
        several = sum(sum(int(row[c]) for c in "NDGCAHMO") > 1 for row in csv.DictReader(file))
    assert error.value.hint == (
        "Say which: -o label=labels, or -o label=N for a class against the rest "
        f"(several of N,D,G,C,A,H,M,O are marked in {several} rows)"
    )
    assert read(root, label="N").class_counts().keys() == {"0", "1"}
    (finding,) = found(read(root, label="labels"), "patient-ids-unusable")
    assert finding.hint == "If it does: -o group=ID"
    with pytest.raises(UsageError, match="full_df.csv line 2 has 2 of the label columns"):
        read(root, label="N,D,G,C,A,H,M,O")


def test_actualmed(shared_data):
    root = shared_data / "actualmed_covid_csv"
    index = read(root)
    assert index.class_counts() == {"COVID-19": 26, "No finding": 18}
    assert len(index.unlabelled) == 10 and found(index, "missing-labels")[0].count == 10
    assert len({s.group for s in (*index.samples, *index.unlabelled)}) == 49
    assert "metadata_present.csv was read" in found(index, "stray-files")[0].message
    full = read(root / "metadata.csv")
    assert full.class_counts() == index.class_counts()
    assert found(full, "csv-missing-files")[0].count == 184
    assert surer(root) == "csv"


def test_wbc(shared_data):
    root = shared_data / "wbc_zheng_csv"
    index = read(root)
    assert len(index) == 141 and index.classes == ("1", "2", "3", "4", "5")
    assert index.class_counts()["5"] == 1
    assert {s.path.rsplit(".")[-1] for s in index.samples} == {"bmp"}
    assert found(index, "stray-files")[0].count == 141
    assert surer(root) == "csv"


def test_rfmid_without_pictures(shared_data):
    root = shared_data / "rfmid_labels"
    for options in ({}, {"image": "ID", "label": "Disease_Risk"}):
        with pytest.raises(InputError, match="no image of RFMiD_Training_Labels.csv exists under"):
            read(root, **options)


def test_rfmid_with_pictures(shared_data, tmp_path, write_image):
    table = (shared_data / "rfmid_labels/RFMiD_Training_Labels.csv").read_bytes()
    (tmp_path / "labels.csv").write_bytes(table)
    for i in (1, 2, 700):
        write_image(tmp_path / f"Training/{i}.png")
    index = read(tmp_path, image="ID", label="Disease_Risk")
    assert [s.path for s in index.samples] == [f"Training/{i}.png" for i in (1, 2, 700)]
    assert found(index, "csv-missing-files")[0].count == 1917
    with pytest.raises(UsageError, match="is the label"):
        read(tmp_path)


# -- names that are no UTF-8 ---------------------------------------------------------------------


@pytest.fixture
def latin(tmp_path, write_image):
    """A folder of images whose names are Latin-1, and a function that writes its table."""
    for name in (b"\xe9tude.png", b"na\xefve.png"):
        made = write_image(tmp_path / "made.png")
        try:
            os.rename(os.fsencode(made), os.fsencode(tmp_path) + b"/" + name)
        except OSError:
            pytest.skip("this disk takes no such names")

    def table(data):
        (tmp_path / "t.csv").write_bytes(data)
        return tmp_path / "t.csv"

    return table


@pytest.mark.parametrize("encoding", ["latin-1", "utf-8"])
def test_a_table_names_files_whose_names_are_latin_1(latin, encoding):
    index = read(latin("image,label\nétude.png,x\nnaïve.png,y\n".encode(encoding)))
    assert labels(index) == {"\udce9tude.png": "x", "na\udcefve.png": "y"}
    assert index.source.read("\udce9tude.png")


def test_an_index_keeps_the_bytes_of_file_names(latin):
    index = read(latin(b"image,label,group,split\n\xe9tude.png,x,,train\nna\xefve.png,y,,test\n"))
    assert labels(index) == {"\udce9tude.png": "x", "na\udcefve.png": "y"}
    assert not found(index, "csv-encoding")


@pytest.mark.parametrize("heading", ["split", "cohort"])
def test_a_split_column_with_a_value_that_is_none_is_asked_about(tmp_path, heading):
    """Left aside, leaks across the split would not be seen."""
    rows = [f"{n}.png,{'ab'[n % 2]},{['train', 'valid', 'holdout'][n % 3]}" for n in range(12)]
    for n in range(12):
        (tmp_path / f"{n}.png").write_bytes(b"x")
    (tmp_path / "labels.csv").write_text("\n".join([f"image,label,{heading}", *rows]) + "\n")
    with pytest.raises(UsageError, match="holdout") as error:
        Reader().read(tmp_path, {})
    assert "-o split=none" in error.value.hint
    assert Reader().read(tmp_path, {"split": "none"}).splits() == ()


# -- an index that medimg wrote --------------------------------------------------------------------

OWN = "image,label,group,split\n"


def test_an_index_says_what_it_leaves_out(dataset):
    images = [*IMAGES, "im/a_mask.png", "other/x.png"]
    root = dataset(images, clean=OWN + "im/a.png,yes,,\nim/b.png,no,,\n")
    index = read(root / "clean.csv")
    (finding,) = index.findings
    assert (finding.check, finding.severity) == ("csv-unlisted-files", "info")
    assert finding.items == ({"file": "im/c.png"}, {"file": "im/d.png"})
    assert "leaves them out" in finding.hint
    assert "2 images that lie beside those of the index have no row" in finding.message


def test_an_index_that_names_all_images_is_silent(dataset):
    root = dataset(IMAGES[:2], clean=OWN + "im/a.png,yes,,\nim/b.png,no,,\n", notes="x,y\n")
    assert not read(root / "clean.csv").findings


def test_a_few_lines_of_latin_1_in_utf8_leave_the_others_as_they_are(dataset):
    rows = [f"{name},{'yes' if n % 2 else 'no'},Pé{n}" for n, name in enumerate(IMAGES)]
    lines = [row.encode() for row in ("image,label,patient", *rows)]
    lines[2] = lines[2].decode().encode("latin-1")
    index = read(dataset(IMAGES, labels=b"\n".join(lines) + b"\n"))
    assert index.groups() == tuple(f"Pé{n}" for n in range(len(IMAGES)))
    (finding,) = found(index, "csv-encoding")
    assert finding.message == "labels.csv is UTF-8 but for 1 line, read as Latin-1 (line 3)"
    assert finding.items == ({"file": "labels.csv", "line": 3},)
    assert finding.severity == "warning"


def test_many_lines_of_latin_1_in_utf8_are_counted_and_the_first_named(dataset):
    names = [f"{n}.png" for n in range(14)]
    rows = [f"{name},{n % 2},Pé{n}".encode("latin-1" if n < 7 else "utf-8")
            for n, name in enumerate(names)]  # fmt: skip
    index = read(dataset(names, labels=b"\r\n".join([b"\xef\xbb\xbfimage,label,patient", *rows])))
    assert set(index.groups()) == {f"Pé{n}" for n in range(14)}
    (finding,) = found(index, "csv-encoding")
    assert "(lines 2, 3, 4, 5, 6 and 2 more)" in finding.message and finding.count == 7
