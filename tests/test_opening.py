"""Opening DATASET: the surest layout, registry names, patients and the positive class."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import pytest

from medimg.api import (
    DatasetIndex,
    DatasetInfo,
    FileSource,
    Guess,
    InputError,
    PluginError,
    Sample,
    UsageError,
)
from medimg.builtin import medimg_datasets
from medimg.core.index import write_index_csv
from medimg.core.registry import core_registry_path, load_registry
from medimg.manager import PluginManager
from medimg.opening import open_dataset


@dataclass
class Layouts:
    """The built-in layouts and those a test adds, as the manager offers them."""

    added: dict = field(default_factory=dict)

    def datasets(self):
        built_in = {info.name: info for info in medimg_datasets()}
        return built_in | {
            name: DatasetInfo(name, "", f"added:{name}", getattr(reader, "suffixes", ()))
            for name, reader in self.added.items()
        }

    def resolve(self, info):
        if info.name in self.added:
            return self.added[info.name]
        return PluginManager.resolve(self, info)


def layout(confidence, made=None, sniffed=None):
    """A stranger's layout that answers so."""

    class Reader:
        def sniff(self, path):
            if isinstance(sniffed, Exception):
                raise sniffed
            return sniffed if sniffed is not None else Guess(confidence, "because")

        def read(self, path, options):
            if isinstance(made, Exception):
                raise made
            if made is not None:
                return made
            return DatasetIndex("x", path, "mine", FileSource(path), (Sample("x", "a"),), ("a",))

    return Reader


@pytest.fixture(scope="session")
def registry():
    return load_registry([("medimg", core_registry_path())])


@pytest.fixture
def opened(registry):
    """Opens a dataset with the built-in layouts and those given."""

    def go(path, layout=None, positive=None, added=None, **options):
        return open_dataset(
            str(path), layout=layout, options=options, manager=Layouts(added or {}),
            registry=registry, positive=positive,
        )  # fmt: skip

    return go


@pytest.fixture
def root(tmp_path, write_image):
    for name in ("NORMAL/1.png", "PNEUMONIA/2.png"):
        write_image(tmp_path / "data" / name)
    return tmp_path / "data"


def test_the_surest_layout_reads_and_says_why(opened, root):
    index = opened(root)
    assert (index.layout, index.reason) == ("folder", "class folders NORMAL, PNEUMONIA")
    assert index.positive == "PNEUMONIA" and index.card is None
    assert opened(root, added={"mine": layout(1.0)}).layout == "mine"
    assert opened(root, added={"mine": layout(1.0)}, layout="folder").layout == "folder"


def test_a_reason_is_given_even_where_the_reader_gives_none(opened, root):
    assert opened(root, added={"mine": layout(1.0)}).reason == "because"


def test_two_equally_sure(opened, root):
    with pytest.raises(UsageError, match=r"layout folder \(.*\) or mine \(because\)") as error:
        opened(root, added={"mine": layout(0.9)})
    assert error.value.hint == "Say which: --layout folder or --layout mine"


def test_options_tell_the_layout(opened, tmp_path, write_image):
    rows = "".join(f"{i}.png,{i % 2}\n" for i in range(6))
    for i in range(6):
        write_image(tmp_path / f"{'AB'[i % 2]}/{i}.png")
    (tmp_path / "t.csv").write_text("image,zzz,yyy\n" + rows.replace("\n", ",1\n"))
    assert opened(tmp_path).layout == "folder"
    assert opened(tmp_path, label="zzz").layout == "csv"


def test_archives_are_to_be_unpacked(opened, tmp_path):
    (tmp_path / "archive.zip").write_bytes(b"PK")
    for path in (tmp_path, tmp_path / "archive.zip"):
        with pytest.raises(InputError, match="no layout reads") as error:
            opened(path)
        assert error.value.hint.startswith("Unpack") and "archive.zip" in error.value.hint


def test_archives_of_a_plugin_that_is_not_installed(opened, tmp_path):
    (tmp_path / "bloodmnist.npz").write_bytes(b"PK")
    (tmp_path / "readme.txt").write_text("")
    for path in (tmp_path, tmp_path / "bloodmnist.npz"):
        with pytest.raises(InputError, match="no layout reads") as error:
            opened(path)
        assert error.value.hint == (
            "bloodmnist.npz is read by the plugin medimg-medmnist: pip install medimg-medmnist "
            "(from a checkout: pip install ./plugins/medimg-medmnist)"
        )


def test_a_folder_of_archives_that_are_read_one_by_one(opened, tmp_path):
    (tmp_path / "it's b.npz").write_bytes(b"PK")
    (tmp_path / "c.npz").write_bytes(b"PK")
    reader = layout(0.0)
    reader.suffixes = (".npz",)
    with pytest.raises(InputError, match="no layout reads") as error:
        opened(tmp_path, added={"npz": reader})
    assert error.value.hint == f"Give one of the archives in it: {tmp_path}/c.npz"


def test_no_layout_reads_it(opened, tmp_path):
    (tmp_path / "x.txt").write_text("")
    for path, what in ((tmp_path, "folder"), (tmp_path / "x.txt", "file")):
        with pytest.raises(InputError, match=f"no layout reads the {what}") as error:
            opened(path)
        assert "csv: no CSV file" in error.value.message


def test_images_without_labels(opened, tmp_path, write_image):
    write_image(tmp_path / "1.png")
    with pytest.raises(InputError, match="no class folders and no CSV file"):
        opened(tmp_path)


def test_an_unknown_layout(opened, root):
    with pytest.raises(UsageError, match="'foldr'") as error:
        opened(root, layout="foldr")
    assert error.value.hint == "Did you mean 'folder'?"


def test_an_option_of_no_layout(opened, root):
    with pytest.raises(UsageError, match="no option 'clases'"):
        opened(root, clases="a")


@pytest.mark.parametrize("sniffed", [RuntimeError("boom"), "yes", Guess(7.0, "x")])
def test_a_layout_that_cannot_be_asked_is_left_out(opened, root, sniffed):
    index = opened(root, added={"mine": layout(1.0, sniffed=sniffed)})
    assert index.layout == "folder"
    (finding,) = index.findings
    assert finding.severity == "warning" and "'mine' could not be asked" in finding.message


@pytest.mark.parametrize("made", [RuntimeError("boom"), "no index"])
def test_a_layout_that_breaks_is_named(opened, root, made):
    with pytest.raises(PluginError, match="'mine'") as error:
        opened(root, added={"mine": layout(1.0, made=made)})
    assert error.value.exit_code == 4


def test_an_expected_failure_passes(opened, root):
    with pytest.raises(InputError, match="no luck"):
        opened(root, added={"mine": layout(1.0, made=InputError("no luck"))})


# -- where it is ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["nowhere/at/all", "nowhere", "nowhere.csv"])
def test_nothing_there(opened, name):
    with pytest.raises(InputError, match=f"{name} does not exist"):
        opened(name)


def test_a_registry_name(opened, registry, tmp_path, monkeypatch, write_image):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MEDIMG_DATA", raising=False)
    with pytest.raises(InputError, match="chest-xray-pneumonia is not at data/chest") as error:
        opened("chest-xray-pneumonia")
    assert "Get it from " in error.value.hint
    for name in ("train/NORMAL/IM-0001-0001.jpeg", "train/PNEUMONIA/person1_virus_2.jpeg"):
        write_image(tmp_path / "data/chest-xray-pneumonia" / name)
    assert len(opened("chest-xray-pneumonia")) == 2
    write_image(tmp_path / "other/chest-xray-pneumonia/train/NORMAL/IM-0001-0001.jpeg")
    monkeypatch.setenv("MEDIMG_DATA", str(tmp_path / "other"))
    assert len(opened("chest-xray-pneumonia")) == 1


def test_a_registry_name_nearly(opened):
    with pytest.raises(InputError) as error:
        opened("chest-xray-pneumoni")
    assert error.value.hint.startswith("Did you mean 'chest-xray-pneumonia'?")


# -- what is known about it ----------------------------------------------------------------------


@pytest.fixture
def kermany(tmp_path, write_image):
    for name in ("train/NORMAL/IM-0001-0001.jpeg", "train/PNEUMONIA/person1_virus_2.jpeg",
                 "train/PNEUMONIA/person1_bacteria_3.jpeg", "test/NORMAL/NORMAL2-IM-0001-0001.jpeg",
                 "test/PNEUMONIA/person1_virus_9.jpeg"):  # fmt: skip
        write_image(tmp_path / name)
    return tmp_path


def test_a_known_dataset_takes_its_patients(opened, kermany):
    index = opened(kermany)
    assert index.card == "chest-xray-pneumonia" and index.recognised_by
    assert index.groups() == ("IM-0001", "NORMAL2-IM-0001", "person1_bacteria", "person1_virus")
    assert "pattern of chest-xray-pneumonia" in index.patients
    assert index.positive == "PNEUMONIA"


def test_the_users_word_on_patients_counts(opened, kermany):
    assert not opened(kermany, group="none").patients
    assert opened(kermany, group_regex=r"(person\d+|IM)").groups() == ("IM", "person1")


def test_one_class_of_a_known_dataset(opened, tmp_path, write_image):
    write_image(tmp_path / "breast/SOB_B_F-14-14134E-400-001.png")
    write_image(tmp_path / "breast/SOB_M_DC-14-3909-100-014.png")
    index = opened(tmp_path)
    assert (index.positive, index.card) == (None, "breakhis")


@pytest.mark.parametrize("positive", ["NORMAL", "PNEUMONIA"])
def test_the_positive_class_asked_for(opened, root, positive):
    assert opened(root, positive=positive).positive == positive


def test_a_positive_class_that_is_none(opened, root):
    with pytest.raises(UsageError, match="--positive 'PNEUMONI' is no class of data") as error:
        opened(root, positive="PNEUMONI")
    assert error.value.hint == "Did you mean 'PNEUMONIA'?"


def test_a_written_index_is_a_dataset(opened, kermany, tmp_path, monkeypatch):
    index = opened(kermany)
    target = write_index_csv(index, tmp_path / "out" / "clean.csv")
    monkeypatch.chdir("/")
    again = opened(target)
    assert [(s.label, s.group, s.split) for s in again.samples] == [
        (s.label, s.group, s.split) for s in index.samples
    ]
    assert (again.positive, again.card) == (index.positive, index.card)
    assert again.patients == "column 'group'"


def test_archives_that_nobody_opens(opened, tmp_path):
    (tmp_path / "s.npz").write_bytes(b"")
    (tmp_path / "clean.csv").write_text("image,label,group,split\ns.npz::train/1,a,,train\n")
    with pytest.raises(InputError, match="points into s.npz"):
        opened(tmp_path / "clean.csv")


def test_archives_are_opened_by_their_suffix(opened, tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in/s.zzz").write_bytes(b"")
    (tmp_path / "clean.csv").write_text("image,label,group,split\nin/s.zzz::train/1,a,,train\n")

    class Source:
        def read(self, path):
            return path

    made = DatasetIndex("s", Path("s"), "mine", Source(), (), ())
    reader = layout(0.0, made=made)
    reader.suffixes = (".zzz",)
    index = opened(tmp_path / "clean.csv", added={"mine": reader})
    assert index.source.read(index.samples[0].path) == "s.zzz::train/1"


# -- real samples --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "layout", "images", "patients", "positive"),
    [("chest_xray_kermany", "folder", 1416, 941, "PNEUMONIA"),
     ("brain_tumor_mri", "folder", 893, 0, None), ("breakhis_mini", "folder", 7, 6, "malignant"),
     ("covid19_radiography", "folder", 218, 0, "COVID"), ("dicom_small", "folder", 6, 0, None),
     ("idc_breast_histopathology", "patient", 1658, 43, "1"),
     ("actualmed_covid_csv", "csv", 44, 39, "COVID-19"), ("wbc_zheng_csv", "csv", 141, 0, None)],
)  # fmt: skip
def test_real_samples_without_options(
    opened, shared_data, name, layout, images, patients, positive
):
    index = opened(shared_data / name)
    assert (index.layout, len(index), len(index.groups()), index.positive) == (
        layout, images, patients, positive
    )  # fmt: skip


def test_no_patient_of_the_chest_xrays_is_on_two_sides(opened, shared_data):
    index = opened(shared_data / "chest_xray_kermany")
    assert not {s.group for s in index.part("train")} & {s.group for s in index.part("test")}


def test_real_samples_that_need_the_user(opened, shared_data):
    with pytest.raises(UsageError, match="which column of full_df.csv is the label"):
        opened(shared_data / "odir_fundus_csv")
    index = opened(shared_data / "odir_fundus_csv", image="filename", label="labels", group="ID")
    assert len(index.groups()) == 350
    with pytest.raises(InputError, match="no image of RFMiD_Training_Labels.csv exists"):
        opened(shared_data / "rfmid_labels")


@pytest.fixture
def dicom(tmp_path):
    """A folder of what begins like DICOM, some without a suffix."""

    def make(*names):
        for name in names:
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_bytes(b"\0" * 128 + b"DICM" + b"\0" * 20)
        return tmp_path

    return make


@pytest.fixture(params=[True, False], ids=["installed", "not installed"])
def plugin(request, monkeypatch):
    """Whether the plugin medimg-dicom can be imported."""
    found = object() if request.param else None
    monkeypatch.setattr("medimg.datasets._tree.find_spec", lambda name: found)
    return request.param


@pytest.mark.parametrize("names", [("a/1.dcm", "b/2.dcm"), ("1.dcm",), ("a/IM1", "b/1.2.840.7")])
def test_a_folder_of_dicom_says_what_reads_it(opened, dicom, plugin, names):
    with pytest.raises(InputError, match="which holds DICOM") as error:
        opened(dicom(*names))
    said = "--layout dicom" if plugin else 'pip install "medimg[dicom]"'
    assert said in error.value.hint


def test_a_dicom_file_says_what_reads_it(opened, dicom):
    with pytest.raises(InputError, match="the file .*, which is DICOM") as error:
        opened(dicom("a/1.dcm") / "a" / "1.dcm")
    assert "dicom" in error.value.hint


def test_dicom_beside_a_table(opened, dicom, plugin):
    root = dicom("1.dcm", "2.dcm")
    (root / "t.csv").write_text("image,label\n1.dcm,a\n2.dcm,b\n")
    with pytest.raises(InputError) as error:
        opened(root)
    assert ("--layout dicom" if plugin else 'pip install "medimg[dicom]"') in error.value.hint


def test_other_files_are_not_called_dicom(opened, tmp_path):
    (tmp_path / "notes").write_text("xDICM" * 100)
    with pytest.raises(InputError) as error:
        opened(tmp_path)
    assert "DICOM" not in error.value.message + error.value.hint
