"""The DICOM layout, on files written here and on pydicom's own samples."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.pixels import apply_modality_lut, apply_voi_lut
from pydicom.uid import (
    CTImageStorage,
    ExplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
    RLELossless,
    generate_uid,
)

from medimg.api import InputError, UsageError
from medimg.cli.main import run
from medimg.core.index import write_index_csv
from medimg.core.registry import Registry
from medimg.core.scan import scan
from medimg.manager import PluginManager
from medimg.opening import open_dataset
from medimg.testing import check_dataset
from medimg_dicom import medimg_datasets, pixels
from medimg_dicom.folder import Reader
from medimg_dicom.headers import list_files, read_header
from medimg_dicom.pixels import picture

SHARED = Path(__file__).resolve().parents[4] / "shared" / "data" / "dev"
RAMP = np.arange(12 * 16, dtype=np.int16).reshape(12, 16)


def data_set(array: np.ndarray = RAMP, **fields) -> FileDataset:
    """A CT-like data set that holds UInt8/Int16/UInt16[h, w] or UInt8[h, w, 3]."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = CTImageStorage
    meta.MediaStorageSOPInstanceUID = generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    made = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    made.SOPClassUID = CTImageStorage
    made.SOPInstanceUID = meta.MediaStorageSOPInstanceUID
    made.Rows, made.Columns = array.shape[:2]
    made.SamplesPerPixel = 3 if array.ndim == 3 else 1
    made.PhotometricInterpretation = "RGB" if array.ndim == 3 else "MONOCHROME2"
    if array.ndim == 3:
        made.PlanarConfiguration = 0
    made.BitsAllocated = made.BitsStored = 8 * array.dtype.itemsize
    made.HighBit = made.BitsStored - 1
    made.PixelRepresentation = int(array.dtype.kind == "i")
    made.PixelData = array.tobytes()
    for name, value in fields.items():
        setattr(made, name, value)
    return made


def write(file: Path, array: np.ndarray = RAMP, **fields) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    data_set(array, **fields).save_as(file, enforce_file_format=True)
    return file


def noise(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(-900, 900, (16, 20)).astype(np.int16)


def write_patients(root: Path, patients: int = 4, split: str = "", suffix: str = ".dcm") -> Path:
    """Two series of two pictures a patient, patients turn about NORMAL and ILL."""
    for patient in range(patients):
        for number in range(4):
            place = root / split / ("NORMAL", "ILL")[patient % 2] / f"case{patient}"
            write(
                place / f"series{number // 2}" / f"IM{patient}{number}{suffix}",
                noise(patient * 10 + number),
                PatientID=f"{split}P{patient}",
                StudyInstanceUID=f"1.{2 + len(split)}.{patient}",
                SeriesInstanceUID=f"1.{2 + len(split)}.{patient}.{number // 2}",
            )
    return root


def read(path: Path, **options: str):
    return Reader().read(path, options)


def finding(index, check: str):
    (found,) = [f for f in index.findings if f.check == check]
    return found


# -- folders -------------------------------------------------------------------------------------


def test_class_folders(tmp_path):
    index = check_dataset(Reader(), write_patients(tmp_path / "set"))
    assert index.class_counts() == {"ILL": 8, "NORMAL": 8}
    assert index.splits() == () and index.name == "set" and index.layout == "dicom"
    assert {s.path.split("/")[1][4:]: s.group for s in index.samples} == {
        str(n): f"P{n}" for n in range(4)
    }
    assert index.patients == "PatientID of the DICOM headers"
    assert Reader().sniff(tmp_path / "set").confidence > 0.95


def test_train_and_test_folders_below_a_folder(tmp_path):
    for split in ("Training", "test"):
        write_patients(tmp_path / "set" / "data", split=split)
    index = check_dataset(Reader(), tmp_path / "set")
    assert index.split_counts() == {
        "train": {"ILL": 8, "NORMAL": 8}, "test": {"ILL": 8, "NORMAL": 8},
    }  # fmt: skip
    assert len(index.groups()) == 8


def test_files_are_told_by_content(tmp_path):
    write_patients(tmp_path, patients=4, suffix="")
    write(tmp_path / "DICOMDIR")
    (tmp_path / "NORMAL" / "notes.txt").write_text("DICM")
    (tmp_path / "NORMAL" / "bare.dcm").write_bytes(b"no preamble")
    (tmp_path / "NORMAL" / "photo.png").write_bytes(b"\x89PNG")
    (tmp_path / "NORMAL" / ".DS_Store").write_bytes(b"")
    index = read(tmp_path)
    assert len(index) == 16 and index.strays == ("NORMAL/notes.txt",)
    assert finding(index, "unreadable").items == ({"file": "NORMAL/bare.dcm"},)
    assert "formats beside the DICOM files: 1, the" in finding(index, "stray-files").message


def test_an_empty_file_is_an_error_and_told_once(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write_patients(tmp_path / "set", patients=12)
    (tmp_path / "set" / "ILL" / "zero.dcm").touch()
    index = read(tmp_path / "set")
    (told,) = [f for f in index.findings if "zero.dcm" in str(f.items)]
    assert (told.check, told.severity, told.count) == ("empty-file", "error", 1)
    assert told.message == "1 DICOM file is empty: ILL/zero.dcm" and not index.strays
    assert run(["verify", "set", "--name", "v", "--write-clean", "clean.csv"]) == 1
    assert run(["verify", "clean.csv", "--name", "w"]) == 0
    assert "zero.dcm" not in Path("runs/w/report.json").read_text()
    capsys.readouterr()


def test_inspect_names_the_format(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write_patients(tmp_path / "set")
    assert run(["inspect", "set", "--name", "i"]) == 0
    assert json.loads(Path("runs/i/report.json").read_text())["result"]["formats"] == {"DICOM": 16}
    assert "DICOM 16" in capsys.readouterr().out


def test_a_clean_index_of_files_with_several_frames_has_nothing_left_to_tell(
    tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    write_patients(tmp_path / "set", patients=12)
    write(tmp_path / "set" / "ILL" / "m.dcm", np.stack([RAMP] * 2), PatientID="9", NumberOfFrames=2)
    assert run(["verify", "set", "--name", "v", "--write-clean", "clean.csv"]) == 1
    assert "left out: 1 unreadable" in capsys.readouterr().out
    assert run(["verify", "clean.csv", "--name", "w"]) == 0
    report = json.loads(Path("runs/w/report.json").read_text())
    assert report["result"]["checks"]["multi-frame"]["status"] == "ok"
    assert "m.dcm" not in capsys.readouterr().out + str(report)


def test_files_outside_class_folders_have_no_label(tmp_path):
    write_patients(tmp_path)
    write(tmp_path / "loose.dcm", PatientID="P9")
    index = read(tmp_path)
    assert [s.path for s in index.unlabelled] == ["loose.dcm"]
    assert "loose.dcm" in finding(index, "missing-labels").message


def test_patient_folders_are_a_question(tmp_path):
    for patient in range(3):
        for label in ("a", "b"):
            write(tmp_path / f"case{patient}" / label / "1.dcm", PatientID=f"X{patient}")
    with pytest.raises(UsageError, match="one patient each .case0, case1, case2") as error:
        read(tmp_path)
    assert "-o labels=" in error.value.hint and "-o classes=" in error.value.hint
    index = read(tmp_path, classes="a,b")
    assert index.class_counts() == {"a": 3, "b": 3} and index.groups() == ("X0", "X1", "X2")
    with pytest.raises(UsageError, match="called 'c'"):
        read(tmp_path, classes="a,c")


@pytest.mark.parametrize("outer", [("p1", "p2"), ("fold1", "fold2")])
def test_folders_that_each_hold_the_classes_are_a_question(tmp_path, outer):
    number = 0
    for place in outer:
        for label in ("benign", "malignant"):
            for _ in range(2):
                number += 1
                patient = place if place[0] == "p" else f"X{number}"
                write(tmp_path / place / label / f"{number}.dcm", PatientID=f"{patient}!")
    with pytest.raises(UsageError, match="are the classes is not clear") as error:
        read(tmp_path)
    assert "-o classes=benign,malignant" in error.value.hint
    assert read(tmp_path, classes="benign,malignant").class_counts() == {
        "benign": 4, "malignant": 4,
    }  # fmt: skip


def test_patients_with_both_classes_are_no_question(tmp_path):
    for label in ("benign", "malignant"):
        for patient in ("p1", "p2", "p3"):
            write(tmp_path / label / patient / "1.dcm", PatientID=patient)
    assert read(tmp_path).class_counts() == {"benign": 3, "malignant": 3}


def test_two_columns_of_one_name_are_a_question(tmp_path):
    write(tmp_path / "1.dcm")
    write(tmp_path / "2.dcm")
    (tmp_path / "t.csv").write_text("image,dx,dx\n1.dcm,a,b\n2.dcm,b,a\n")
    with pytest.raises(UsageError, match="2 columns of t.csv are called 'dx'"):
        read(tmp_path)


def test_without_labels_it_asks(tmp_path):
    for number in range(3):
        write(tmp_path / f"{number}.dcm")
    with pytest.raises(UsageError, match="3 DICOM files in .* have no labels") as error:
        read(tmp_path)
    assert "-o labels=FILE.csv" in error.value.hint


def test_pipes_and_broken_links_are_passed_by(tmp_path):
    write_patients(tmp_path)
    os.mkfifo(tmp_path / "ILL" / "pipe.dcm")
    (tmp_path / "ILL" / "gone.dcm").symlink_to(tmp_path / "nowhere.dcm")
    (tmp_path / "ILL" / "round").symlink_to(tmp_path)
    assert Reader().sniff(tmp_path).confidence > 0.9
    assert len(read(tmp_path)) == 16


def test_folders_without_dicom(tmp_path):
    (tmp_path / "a.txt").write_text("x")
    assert Reader().sniff(tmp_path).confidence == 0
    with pytest.raises(InputError, match="no DICOM picture"):
        read(tmp_path)
    with pytest.raises(InputError, match="is no folder"):
        read(tmp_path / "none")


def test_objects_without_a_picture_are_left_out(tmp_path):
    write_patients(tmp_path)
    report = data_set(PatientID="P1")
    for name in ("Rows", "Columns", "PixelData"):
        delattr(report, name)
    report.save_as(tmp_path / "NORMAL" / "report.dcm", enforce_file_format=True)
    index = read(tmp_path)
    assert len(index) == 16
    assert "DICOM files without a picture" in finding(index, "stray-files").message


# -- patients and private fields -------------------------------------------------------------------


@pytest.mark.parametrize("patient", ["", "ANON"])
def test_series_are_kept_together_where_ids_tell_nothing(tmp_path, patient):
    for number in range(6):
        write(
            tmp_path / "ab"[number % 2] / f"{number}.dcm",
            PatientID=patient,
            StudyInstanceUID=f"1.2.{number // 2}",
        )
    index = read(tmp_path)
    assert {s.path[2]: s.group for s in index.samples} == {
        str(n): f"1.2.{n // 2}" for n in range(6)
    }
    assert index.patients == "StudyInstanceUID of the DICOM headers"
    said = "blank" if not patient else "the same"
    assert f"PatientID is {said} in all files (6)" in finding(index, "patient-ids-unusable").message


def test_one_study_is_told_apart_by_series(tmp_path):
    for number in range(6):
        write(tmp_path / "ab"[number % 2] / f"{number}.dcm", PatientID="X", StudyInstanceUID="1.2",
              SeriesInstanceUID=f"1.2.{number // 3}")  # fmt: skip
    index = read(tmp_path)
    assert index.groups() == ("1.2.0", "1.2.1")
    assert index.patients == "SeriesInstanceUID of the DICOM headers"


def test_a_series_with_several_ids_is_kept_together(tmp_path):
    """As an anonymiser leaves it that numbers files: six ids, three to a series."""
    for number in range(6):
        write(tmp_path / "ab"[number % 2] / f"{number}.dcm", PatientID=f"P{number}",
              SeriesInstanceUID=f"1.2.{number // 3}")  # fmt: skip
    index = read(tmp_path)
    assert {s.path[2]: s.group for s in index.samples} == dict(
        zip("012345", ["P0", "P0", "P0", "P3", "P3", "P3"], strict=True)
    )
    said = finding(index, "patient-ids-unusable")
    assert "6 files of 2 series have several PatientIDs" in said.message
    assert "joined" in index.patients


def test_one_series_for_all_joins_nobody(tmp_path):
    for number in range(6):
        write(tmp_path / "ab"[number % 2] / f"{number}.dcm", PatientID=f"P{number}",
              SeriesInstanceUID="1.2")  # fmt: skip
    index = read(tmp_path)
    assert len(index.groups()) == 6
    assert "they stay apart" in finding(index, "patient-ids-unusable").message


def test_files_without_an_id_beside_others(tmp_path):
    write_patients(tmp_path)
    for number in range(2):
        write(tmp_path / "ILL" / f"x{number}.dcm", StudyInstanceUID="1.9")
    index = read(tmp_path)
    assert {s.group for s in index.samples if s.path.startswith("ILL/x")} == {"1.9"}
    assert finding(index, "patient-ids-unusable").count == 2


def test_patients_as_the_user_says(tmp_path):
    write_patients(tmp_path)
    assert not read(tmp_path, group="none").patients
    index = check_dataset(Reader(), tmp_path, {"group_regex": "(case[01])"})
    assert index.groups() == ("case0", "case1")
    with pytest.raises(UsageError, match="matches none"):
        read(tmp_path, group_regex="(nobody)")


def test_private_fields_are_named_and_their_values_are_not(tmp_path):
    secret = "Mustermann^Erika"
    write_patients(tmp_path)
    write(tmp_path / "ILL" / "x.dcm", PatientID="P7", PatientName=secret, StudyDate="20200101",
          InstitutionName="Klinik", ReferringPhysicianName="")  # fmt: skip
    index = read(tmp_path)
    found, numbers = (f for f in index.findings if f.check == "private-metadata")
    assert (found.severity, found.count) == ("warning", 1)
    assert "PatientName (1), PatientID (1), StudyDate (1), InstitutionName (1)" in found.message
    # the others hold a number alone, which may be a pseudonym
    assert (numbers.severity, numbers.count) == ("info", 16)
    fields = "PatientName, PatientID, StudyDate, InstitutionName"
    assert {"file": "ILL/x.dcm", "fields": fields} in found.items
    assert not {secret, "20200101", "Klinik"} & set(str(index.findings).replace("'", " ").split())
    assert secret not in str(index) and "Klinik" not in str(index)


def test_numbers_alone_may_be_pseudonyms(tmp_path):
    write_patients(tmp_path)
    found = finding(read(tmp_path), "private-metadata")
    assert found.severity == "info" and "pseudonyms" in found.hint


def test_declared_removal_is_information(tmp_path):
    for number in range(4):
        write(tmp_path / "ab"[number % 2] / f"{number}.dcm", PatientID=f"S{number}",
              PatientIdentityRemoved="YES")  # fmt: skip
    found = finding(read(tmp_path), "private-metadata")
    assert found.severity == "info" and "4 of them declare PatientIdentityRemoved" in found.message


# -- labels from a table ---------------------------------------------------------------------------


def test_run_folders_of_medimg_are_no_part_of_it(tmp_path):
    root = write_patients(tmp_path / "set")
    before = read(root)
    write(root / "runs" / "mine" / "shown.dcm")
    (root / "runs" / "mine" / "report.json").write_text('{"schema": "medimg.report/1"}')
    after = read(root)
    assert (after.samples, after.findings) == (before.samples, before.findings)
    (root / "runs" / "mine" / "report.json").write_text("{}")
    assert "runs/mine/shown.dcm" in list_files(root)


@pytest.fixture
def flat(tmp_path):
    """Six files, two a patient, in one folder."""
    for number in range(6):
        write(tmp_path / "set" / f"IM{number}.dcm", noise(number), SOPInstanceUID=f"1.5.{number}",
              SeriesInstanceUID=f"1.4.{number // 2}", PatientID=f"P{number // 2}")  # fmt: skip
    return tmp_path / "set"


@pytest.mark.parametrize(
    ("cell", "kind"),
    [
        ("IM{0}.dcm", "paths"),
        ("IM{0}", "file names without suffix"),
        ("1.5.{0}", "SOPInstanceUID"),
        ("1.4.{1}", "SeriesInstanceUID"),
        ("P{1}", "PatientID"),
    ],
)
def test_rows_name_files_in_many_ways(flat, cell, kind):
    lines = dict.fromkeys(f"{cell.format(n, n // 2)},{'ab'[n // 2 % 2]}" for n in range(6))
    (flat / "labels.csv").write_text("key,label\n" + "\n".join(lines) + "\n")
    index = check_dataset(Reader(), flat)
    assert {s.path: s.label for s in index.samples} == {
        f"IM{n}.dcm": "ab"[n // 2 % 2] for n in range(6)
    }
    assert kind in index.reason and index.groups() == ("P0", "P1", "P2") and not index.strays


def test_columns_are_chosen_or_asked_for(flat):
    rows = [f"IM{n};{'xy'[n % 2]};{'train' if n < 4 else 'test'};{n % 3};s{n}" for n in range(6)]
    (flat / "t.csv").write_text("id;diag;set;grade;site\n" + "\n".join(rows) + "\n")
    with pytest.raises(UsageError, match="holds the label is not clear"):
        read(flat)
    index = read(flat, labels="t.csv", label="diag", group="site")
    assert index.split_counts() == {"train": {"x": 2, "y": 2}, "test": {"x": 1, "y": 1}}
    assert index.groups() == tuple(f"s{n}" for n in range(6))
    assert index.patients == "column 'site'"
    assert read(flat, label="diag", split="none").splits() == ()
    assert read(flat, label="grade", classes="0,1").class_counts() == {"0": 2, "1": 2}
    with pytest.raises(UsageError, match="no column 'diagnosis'"):
        read(flat, label="diagnosis")
    with pytest.raises(UsageError, match="is neither in"):
        read(flat, labels="none.csv")
    with pytest.raises(UsageError, match="'x' is no split"):
        read(flat, label="grade", split="diag")


def test_rows_that_do_not_fit(flat):
    (flat / "labels.csv").write_text(
        "image,label\nIM0.dcm,a\nIM1.dcm,a\nIM1.dcm,b\nIM2.dcm,\nIM3.dcm,b\nIM9.dcm,a\nIM0.dcm,a\n"
    )
    index = read(flat)
    assert {s.path: s.label for s in index.samples} == {"IM0.dcm": "a", "IM3.dcm": "b"}
    assert [s.path for s in index.unlabelled] == ["IM2.dcm"]
    counts = {f.check: (f.severity, f.count) for f in index.findings}
    assert counts["csv-contradictions"] == ("error", 1)
    assert counts["csv-missing-files"] == ("warning", 1)
    assert counts["csv-unlisted-files"] == ("info", 2)
    assert counts["missing-labels"] == ("warning", 1)


def test_a_table_that_names_no_file(flat):
    (flat / "labels.csv").write_text("image,label\nzz.dcm,a\n")
    with pytest.raises(InputError, match="names a DICOM file") as error:
        read(flat)
    assert "-o image=COLUMN" in error.value.hint
    assert "P0" not in str(error.value) and "1.5." not in str(error.value)


def manager() -> PluginManager:
    return PluginManager(
        [
            EntryPoint("builtin", "medimg.builtin", "medimg"),
            EntryPoint("dicom", "medimg_dicom", "medimg"),
        ]
    )


def opened(path, **options):
    registry = Registry({}, {}, {})
    return open_dataset(
        str(path), layout=None, options=options, manager=manager(), registry=registry
    )


def test_an_index_written_as_a_table_reads_the_same_pictures(tmp_path, monkeypatch):
    for split in ("train", "test"):
        write_patients(tmp_path / "in", split=split, suffix="")
    index = opened(tmp_path / "in")
    assert index.layout == "dicom" and index.positive == "ILL"
    table = write_index_csv(index, tmp_path / "out" / "clean.csv", index.samples[1:])
    monkeypatch.chdir("/")
    again = opened(table)
    assert again.layout == "dicom" and again.class_counts() == {"ILL": 15, "NORMAL": 16}
    assert again.split_counts() == index.with_samples(index.samples[1:]).split_counts()
    for old, new in zip(index.samples[1:], again.samples, strict=True):
        assert (new.label, new.group, new.split) == (old.label, old.group, old.split)
        assert (again.source.read(new.path) == index.source.read(old.path)).all()


# -- pixels ----------------------------------------------------------------------------------------


def test_hounsfield_units_stay_one_level_apart():
    found = data_set(noise(1), RescaleSlope=1, RescaleIntercept=-1024)
    grey = picture(found)
    assert grey.dtype == np.uint16
    assert (grey.astype(int) - 32768 == noise(1)).all()


@pytest.mark.parametrize("function", ["LINEAR", "LINEAR_EXACT", "SIGMOID"])
@pytest.mark.parametrize("window", [(40, 400), (-600, 1500), ([50, 1], [350, 2])])
def test_windows_as_pydicom_applies_them(function, window):
    found = data_set(noise(2), RescaleSlope=2, RescaleIntercept=-100, VOILUTFunction=function,
                     WindowCenter=window[0], WindowWidth=window[1])  # fmt: skip
    reference = apply_voi_lut(apply_modality_lut(found.pixel_array, found), found)
    # pydicom maps to what can be stored, in modality units
    low, high = -32768 * 2 - 100, 32767 * 2 - 100
    expected = 255 * (reference - low) / (high - low)
    grey = picture(found)
    assert grey.dtype == np.uint8
    assert np.abs(grey - expected).max() <= 0.51
    assert np.ptp(grey) > 50


def test_a_window_of_the_users():
    found = data_set(RAMP, WindowCenter=5, WindowWidth=3)
    # 0 is the first level of the window and 192 its last
    grey = picture(found, (96.5, 193)).astype(float)
    assert np.abs(grey - 255 * RAMP.astype(float) / 192).max() <= 0.5
    assert picture(found, own_window=False).dtype == np.uint16


@pytest.mark.parametrize("text", ["40", "a/b", "40/0", "1/2/3"])
def test_windows_that_are_none(tmp_path, text):
    write_patients(tmp_path)
    with pytest.raises(UsageError, match="is no window"):
        read(tmp_path, window=text)
    assert read(tmp_path, window="none").source.own_window is False
    assert read(tmp_path, window="-600/1500").source.window == (-600, 1500)


def test_lookup_tables():
    lut = Dataset()
    lut.LUTDescriptor = [192, 0, 12]
    lut.LUTData = (np.arange(192) * 21).astype(np.uint16).tolist()
    found = data_set(RAMP.astype(np.uint16), VOILUTSequence=[lut])
    reference = apply_voi_lut(found.pixel_array, found)
    assert (picture(found) == np.rint(255.0 * reference / 4095)).all()


def test_monochrome1_is_inverted():
    plain, dark = (
        data_set(WindowCenter=96, WindowWidth=192),
        data_set(WindowCenter=96, WindowWidth=192, PhotometricInterpretation="MONOCHROME1"),
    )
    assert (picture(dark) == 255 - picture(plain)).all() and picture(plain)[0, 0] < 10
    deep = picture(data_set(PhotometricInterpretation="MONOCHROME1"))
    assert deep.dtype == np.uint16 and deep[0, 0] > deep[-1, -1]


def test_a_negative_slope_turns_the_picture_round():
    grey = picture(data_set(RescaleSlope=-1, RescaleIntercept=0))
    assert grey[0, 0] > grey[-1, -1]


def test_eight_bits_and_fractions():
    bytes_ = RAMP.astype(np.uint8)
    assert (picture(data_set(bytes_)) == bytes_).all()
    few = data_set((RAMP // 16).astype(np.uint8), BitsStored=4, HighBit=3)
    assert (picture(few) == (RAMP // 16) * 17).all()
    fine = picture(data_set(noise(3), RescaleSlope="0.25", RescaleIntercept="0"))
    assert fine.dtype == np.uint16
    assert np.corrcoef(fine.ravel(), noise(3).ravel())[0, 1] > 0.99999


def test_colours():
    rgb = np.random.default_rng(0).integers(0, 256, (6, 8, 3), np.uint8)
    assert (picture(data_set(rgb)) == rgb).all()
    palette = data_set((RAMP % 4).astype(np.uint8), PhotometricInterpretation="PALETTE COLOR")
    for place, name in enumerate(("Red", "Green", "Blue")):
        setattr(palette, f"{name}PaletteColorLookupTableDescriptor", [4, 0, 8])
        setattr(palette, f"{name}PaletteColorLookupTableData", bytes([0, 80, 160, 240 - place]))
    assert picture(palette)[0, 3].tolist() == [240, 239, 238]


def test_run_length_coding():
    found = data_set(RAMP.astype(np.uint16))
    found.compress(RLELossless)
    assert (picture(found) == picture(data_set(RAMP.astype(np.uint16)))).all()


def test_several_frames_are_refused(tmp_path):
    write_patients(tmp_path)
    cine = data_set(np.tile(RAMP, (3, 1)), Rows=12, NumberOfFrames=3, PatientID="P8")
    cine.save_as(tmp_path / "ILL" / "cine.dcm", enforce_file_format=True)
    index = read(tmp_path)
    with pytest.raises(OSError, match="it holds 3 frames; medimg reads single pictures"):
        index.source.read("ILL/cine.dcm")
    records = scan(index)
    wrong = {path: record.error for path, record in records.items() if record.error}
    assert list(wrong) == ["ILL/cine.dcm"] and "3 frames" in wrong["ILL/cine.dcm"]
    for file in tmp_path.rglob("IM*"):
        file.unlink()
    with pytest.raises(InputError, match="all 1 DICOM files in .* hold several frames"):
        read(tmp_path)


def test_missing_decoders_are_named(monkeypatch):
    found = data_set()
    found.file_meta.TransferSyntaxUID = JPEGLSLossless
    found.PixelData = encapsulate([b"\xff\xd8\xff\xd9"])
    found["PixelData"].is_undefined_length = True

    class Absent:
        is_available = False

    monkeypatch.setattr(pixels, "get_decoder", lambda syntax: Absent)
    with pytest.raises(OSError, match="JPEG-LS Lossless.*medimg-dicom.compressed"):
        picture(found)


def test_damaged_pixels():
    found = data_set()
    found.PixelData = found.PixelData[:100]
    with pytest.raises(OSError, match="cut short"):
        picture(found)
    torn = data_set()
    torn.file_meta.TransferSyntaxUID = JPEG2000Lossless
    torn.PixelData = encapsulate([b"nothing"])
    torn["PixelData"].is_undefined_length = True
    with pytest.raises(OSError, match="JPEG 2000"):
        picture(torn)
    with pytest.raises(OSError, match="would unpack"):
        picture(data_set(Rows=60000, Columns=60000))


def test_a_damaged_header_is_left_out(tmp_path):
    write_patients(tmp_path)
    (tmp_path / "ILL" / "torn").write_bytes(b"\0" * 128 + b"DICM" + b"\x02\x00\x10")
    index = read(tmp_path)
    assert len(index) == 16
    assert finding(index, "unreadable").items == ({"file": "ILL/torn"},)


# -- the plugin ------------------------------------------------------------------------------------


def test_the_plugin_names_its_reader_without_pydicom():
    (info,) = medimg_datasets()
    assert info.name == "dicom"
    code = "import sys, medimg_dicom; assert not {'numpy', 'pydicom'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_verify_and_split_from_the_command_line(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write_patients(tmp_path / "set", patients=12)
    assert run(["verify", "set", "--name", "v"]) in (0, 1)
    report = json.loads(Path("runs/v/report.json").read_text())
    assert report["dataset"]["layout"] == "dicom" and report["dataset"]["groups"] == 12
    assert "private-metadata" in {f["check"] for f in report["findings"]}
    assert "P3" not in {v for f in report["findings"] if f["check"] == "private-metadata"
                        for item in f["items"] for v in item.values()}  # fmt: skip
    assert run(["split", "set", "--folds", "3", "--name", "s"]) == 0
    capsys.readouterr()


# -- pydicom's samples -----------------------------------------------------------------------------


def test_pictures_need_no_labels(tmp_path):
    write(tmp_path / "a" / "IM1")
    write(tmp_path / "b.dcm", WindowCenter=40, WindowWidth=80)
    (tmp_path / "c.txt").write_text("no picture")
    source, keys = Reader().pictures(tmp_path, {"label": "dx"})
    assert keys == ["a/IM1", "b.dcm"]
    assert (source.read("b.dcm") == picture(pydicom.dcmread(tmp_path / "b.dcm"))).all()
    source, keys = Reader().pictures(tmp_path / "b.dcm", {"window": "100/20"})
    assert keys == ["b.dcm"]
    shown = picture(pydicom.dcmread(tmp_path / "b.dcm"), (100.0, 20.0), False)
    assert (source.read("b.dcm") == shown).all()
    for path in ("c.txt", "gone.dcm"):
        assert Reader().pictures(tmp_path / path, {}) == (None, [])


def test_predict_from_the_command_line(tmp_path, monkeypatch, capsys):
    pytest.importorskip("medimg_linear")
    monkeypatch.chdir(tmp_path)
    for split in ("train", "val"):
        write_patients(tmp_path / "set", patients=8, split=split)
    train = ["train", "set", "--backend", "linear", "--image-size", "16", "--epochs", "1"]
    # the pictures of train are those of val
    allow = ["--allow", "duplicates-across-splits"]
    assert run([*train, *allow, "-o", "window=0/1000", "--name", "t"]) == 0
    with open("runs/t/predictions/val.csv", newline="") as file:
        known = {f"set/{row['path']}": row["prob_ILL"] for row in csv.DictReader(file)}
    one = sorted(known)[0]
    for given, paths in (("set/val", set(known)), (one, {one})):
        assert run(["predict", "runs/t", given, "--csv", "p.csv", "-q"]) == 0
        with open("p.csv", newline="") as file:
            got = {row["path"]: row["prob_ILL"] for row in csv.DictReader(file)}
        assert got.keys() == paths
        # through the window that training saw
        assert all(float(got[p]) == pytest.approx(float(known[p]), rel=1e-5) for p in paths)


def test_copies_are_told_as_equal_pixels_not_bytes(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write_patients(tmp_path / "set", patients=4)
    for number in range(2):
        write(tmp_path / "set" / "ILL" / f"copy{number}.dcm", noise(99), PatientName=f"N{number}")
    assert run(["verify", "set", "--only", "exact-duplicates", "--json"]) == 0
    (found,) = json.loads(capsys.readouterr().out)["findings"]
    assert [row["identical"] for row in found["items"]] == ["pixels"]


@pytest.fixture
def samples():
    folder = SHARED / "dicom_small"
    if not folder.is_dir():
        pytest.skip(f"the real samples are not at {SHARED}")
    return folder


def test_real_files_without_labels_are_a_question(samples):
    with pytest.raises(UsageError, match="9 DICOM files in .* have no labels"):
        opened(samples / "dicom")
    index = opened(samples)
    assert index.layout == "dicom" and index.class_counts() == {"dicom": 9}
    assert finding(index, "unreadable").items == ({"file": "dicom/no_meta.dcm"},)


def test_real_pictures(samples):
    index = opened(samples)
    read = index.source.read
    small = read("dicom/MR_small.dcm")
    assert small.shape == (64, 64) and small.dtype == np.uint8
    for same in ("RLE", "bigendian", "implicit"):
        assert (read(f"dicom/MR_small_{same}.dcm") == small).all()
    # CT without a window: the values of an independent conversion, shifted
    import cv2

    reference = cv2.imread(str(samples / "png16_tiff16_derived" / "CT_small.png"), -1)
    ct = read("dicom/CT_small.dcm").astype(int)
    assert (ct - ct.min() == reference.astype(int) - reference.min()).all()
    for bad, why in (("MR_truncated", "cut short"), ("JPEG-lossy", "JPEG Extended")):
        with pytest.raises(OSError, match=why):
            read(f"dicom/{bad}.dcm")


def test_real_headers_are_read_without_pixels(samples):
    header = read_header(samples, "dicom/CT_small.dcm")
    whole = pydicom.dcmread(samples / "dicom" / "CT_small.dcm")
    assert header.patient == whole.PatientID and header.frames == 1
    assert "PatientName" in header.private and not header.removed


def test_what_can_not_be_read_stands_under_the_check_that_names_it(tmp_path):
    from medimg.core.scan import scan

    write_patients(tmp_path)
    several = tmp_path / "ILL" / "several.dcm"
    write(several, np.stack([RAMP, RAMP]), PatientID="P8", NumberOfFrames=2)
    whole = write(tmp_path / "ILL" / "cut.dcm", PatientID="P9")
    whole.write_bytes(whole.read_bytes()[:-100])
    kinds = {path: record.kind for path, record in scan(read(tmp_path)).items() if record.kind}
    assert kinds == {"ILL/several.dcm": "multi-frame", "ILL/cut.dcm": "truncated"}
