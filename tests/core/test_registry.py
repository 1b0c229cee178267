"""The registry: its schema, its messages, its numbers and what it recognises."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from medimg.core.errors import PluginError, UsageError
from medimg.core.registry import (
    DatasetCard,
    ModelCard,
    Registry,
    core_registry_path,
    load_registry,
    smallest_size,
)
from medimg.core.types import DatasetIndex, Sample

IMAGES = {".png", ".jpg", ".jpeg", ".bmp"}

MODEL = """\
models:
  tiny:
    title: Tiny
    summary: One convolution.
    layers: [conv8, pool]
    head: [flatten, fc4]
    input_size: 28
"""
DATASET = """\
datasets:
  shapes:
    title: Shapes
    modality: drawing
    anatomy: none
    task: two classes
    classes: [round, square]
    positive: square
    layout: folder
    images: 10
    source: {url: "https://example.org"}
"""


@pytest.fixture(scope="module")
def registry() -> Registry:
    return load_registry([("medimg", core_registry_path())])


def index_of(root: Path, paths: list[str]) -> DatasetIndex:
    """An index in which the folder above a file is its class."""
    samples = tuple(Sample(path, Path(path).parent.name) for path in paths)
    classes = tuple(sorted({str(s.label) for s in samples}))
    return DatasetIndex(root.name, root, "folder", None, samples, classes)  # type: ignore[arg-type]


def files_of(root: Path) -> list[str]:
    return [p.relative_to(root).as_posix() for p in root.rglob("*") if p.suffix in IMAGES]


def load_text(tmp_path: Path, *texts: str) -> Registry:
    files = []
    for number, text in enumerate(texts):
        path = tmp_path / f"registry{number}.yaml"
        path.write_text(text, encoding="utf-8")
        files.append((f"plugin-{number}", path))
    return load_registry(files)


# -- the numbers on the cards ---------------------------------------------------------------------


def count_parameters(card: ModelCard, classes: int = 2) -> int:
    """Weights, biases and BatchNorm's four vectors, layer by layer, by the textbook formulas."""
    side, depth, total = card.input_size, card.channels, 0
    for layer in card.layers:
        if layer == "pool":
            side //= 2
        elif layer == "bn":
            total += 4 * depth
        else:
            filters = int(layer.removeprefix("conv"))
            total += 3 * 3 * depth * filters + filters
            side, depth = side - 2, filters
    width = side * side * depth
    for layer in card.head:
        if layer.startswith("fc"):
            units = int(layer.removeprefix("fc"))
            total += width * units + units
            width = units
    outputs = 1 if classes == 2 and card.output == "sigmoid" else classes
    return total + width * outputs + outputs


@pytest.mark.parametrize(
    ("name", "published"),
    [("cnn2", 10_636_481), ("cnn3", 4_828_481), ("cnn3bn", 11_169_985), ("cnn4gray", 1_033_218)],
)
def test_parameters_are_those_of_the_studies(registry: Registry, name: str, published: int) -> None:
    card = registry.model(name)
    assert card.parameters == {"torch": published, "keras": published}
    assert count_parameters(card) == published


def test_resnet18_small_has_the_parameters_of_its_definition(registry: Registry) -> None:
    # convolutions without bias, each followed by a BatchNorm (He et al. 2016, table 1)
    def conv(size: int, inputs: int, outputs: int) -> int:
        return size * size * inputs * outputs + 4 * outputs

    total, inputs = conv(3, 3, 64), 64
    for outputs in (64, 128, 256, 512):
        total += conv(3, inputs, outputs) + 3 * conv(3, outputs, outputs)
        total += conv(1, inputs, outputs) if inputs != outputs else 0
        inputs = outputs
    assert registry.model("resnet18-small").parameters == dict.fromkeys(
        ("torch", "keras"), total + 512 + 1
    )


def test_published_counts_add_up(registry: Registry) -> None:
    for card in registry.datasets.values():
        parts = {k: v for k, v in card.counts.items() if k != "all"}
        for split, by_class in parts.items():
            assert sum(by_class.values()) == card.split_images[split], (card.name, split)
        if "all" in card.counts:
            assert sum(card.counts["all"].values()) == card.images, card.name
        if card.split_images:
            assert sum(card.split_images.values()) == card.images, card.name
        assert card.counts, card.name


def test_studies_datasets_are_all_there(registry: Registry) -> None:
    assert {card.study for card in registry.datasets.values()} >= {1, 2, 3, 4}
    recut = registry.dataset("kermany").variants["study-3"].counts
    assert recut["train"] == {"NORMAL": 1072, "PNEUMONIA": 3100}
    published = registry.dataset("kermany").counts
    for name in ("NORMAL", "PNEUMONIA"):
        joined = published["train"][name] + published["val"][name]
        assert recut["train"][name] + recut["val"][name] == joined


# -- specs ----------------------------------------------------------------------------------------


def test_two_classes_end_in_one_sigmoid_where_the_study_did_so(registry: Registry) -> None:
    assert registry.model("cnn3").spec(2).outputs == 1
    assert registry.model("cnn3").spec(3).outputs == 3
    assert registry.model("cnn4gray").spec(2).outputs == 2


def test_spec_takes_size_and_channels(registry: Registry) -> None:
    spec = registry.model("cnn3").spec(2, size=64, channels=1)
    assert (spec.height, spec.width, spec.channels) == (64, 64, 1)
    default = registry.model("cnn4gray").spec(2)
    assert (default.height, default.channels, default.name) == (150, 1, "cnn4gray")


def test_pictures_too_small_for_the_layers_are_refused(registry: Registry) -> None:
    assert registry.model("cnn4gray").spec(2, size=38).height == 38
    with pytest.raises(
        UsageError, match="cnn4gray needs pictures of at least 38 px a side, not 37"
    ):
        registry.model("cnn4gray").spec(2, size=37)


@pytest.mark.parametrize("layers", [["conv8"], ["conv8", "pool", "conv8"], ["pool", "pool"]])
def test_smallest_size_is_the_smallest_that_leaves_a_pixel(layers: list[str]) -> None:
    def left(side: int) -> int:
        for layer in layers:
            side = side // 2 if layer == "pool" else side - 2
        return side

    smallest = smallest_size(layers)
    assert left(smallest) >= 1
    assert left(smallest - 1) < 1


def test_one_class_or_two_channels_make_no_network(registry: Registry) -> None:
    with pytest.raises(UsageError, match="at least two classes"):
        registry.model("cnn2").spec(1)
    with pytest.raises(UsageError, match="1 or 3 channels, not 2"):
        registry.model("cnn2").spec(2, channels=2)


# -- names ----------------------------------------------------------------------------------------


def test_names_are_found_by_alias_and_without_case(registry: Registry) -> None:
    assert registry.dataset("Kermany").name == "chest-xray-pneumonia"
    assert registry.model("CNN3").name == "cnn3"


def test_unknown_names_come_with_the_near_miss(registry: Registry) -> None:
    with pytest.raises(UsageError, match="no model is called 'cnn33'") as caught:
        registry.model("cnn33")
    assert "'cnn3" in caught.value.hint
    with pytest.raises(UsageError) as caught:
        registry.dataset("breakhiss")
    assert caught.value.hint == "Did you mean 'breakhis'?"
    with pytest.raises(UsageError, match="no augmentation preset is called 'heavy'"):
        registry.augmentation("heavy")


def test_spelling_of_classes(registry: Registry) -> None:
    card = registry.dataset("chest-xray-pneumonia")
    assert card.canonical("neumonia") == "PNEUMONIA"
    assert card.canonical("tuberculosis") is None
    assert card.positive_of(["NEUMONIA", "NORMAL"]) == "NEUMONIA"
    assert card.positive_of(["cats", "dogs"]) is None


# -- patients -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("dataset", "path", "patient"),
    [
        ("chest-xray-pneumonia", "test/PNEUMONIA/person3_virus_17.jpeg", "person3_virus"),
        ("chest-xray-pneumonia", "test/PNEUMONIA/person3_bacteria_1.jpeg", "person3_bacteria"),
        ("chest-xray-pneumonia", "NORMAL/IM-0115-0001.jpeg", "IM-0115"),
        ("chest-xray-pneumonia", "NORMAL/NORMAL2-IM-0115-0001.jpeg", "NORMAL2-IM-0115"),
        ("idc", "10253/0/10253_idx5_x1001_y1001_class0.png", "10253"),
        (
            "breakhis",
            "SOB/adenosis/SOB_B_A_14-22549AB/40X/SOB_B_A-14-22549AB-40-001.png",
            "14-22549AB",
        ),
        ("breakhis", "40X/SOB_B_F-14-9133-400-023.png", "14-9133"),
    ],
)
def test_patient_patterns(registry: Registry, dataset: str, path: str, patient: str) -> None:
    pattern = registry.dataset(dataset).patient_pattern
    assert pattern is not None
    found = re.search(pattern, path)
    assert found and found.group(1) == patient


def test_no_kermany_patient_is_on_two_sides(registry: Registry, shared_data: Path) -> None:
    root = shared_data / "chest_xray_kermany"
    pattern = re.compile(str(registry.dataset("kermany").patient_pattern))
    sides: dict[str, set[str]] = {}
    for path in files_of(root):
        found = pattern.search(path)
        assert found, path
        sides.setdefault(found.group(1), set()).add(path.split("/")[0])
    assert len(sides) == 941
    assert all(len(splits) == 1 for splits in sides.values())


# -- recognition ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("folder", "card"),
    [
        ("chest_xray_kermany", "chest-xray-pneumonia"),
        ("idc_breast_histopathology", "idc"),
        ("brain_tumor_mri", "brain-tumour-mri"),
        ("covid19_radiography", "covid19-radiography"),
    ],
)
def test_real_samples_are_recognised(
    registry: Registry, shared_data: Path, folder: str, card: str
) -> None:
    root = shared_data / folder
    found = registry.recognise(index_of(root, files_of(root)))
    assert found is not None
    assert found[0].name == card
    assert "files are named like" in found[1]


def test_breakhis_is_recognised_by_either_level_of_classes(
    registry: Registry, shared_data: Path
) -> None:
    root = shared_data / "breakhis_mini"
    index = index_of(root, files_of(root))
    for level, number in (("benign or malignant", 1), ("tumour type", 3)):
        samples = [Sample(s.path, s.path.split("/")[number]) for s in index.samples]
        classes = tuple(sorted({str(s.label) for s in samples}))
        found = registry.recognise(index.with_samples(samples, classes=classes))
        assert found and found[0].name == "breakhis", level


@pytest.mark.parametrize(
    "folder", ["odir_fundus_csv", "actualmed_covid_csv", "wbc_zheng_csv", "dicom_small"]
)
def test_other_real_samples_are_not(registry: Registry, shared_data: Path, folder: str) -> None:
    root = shared_data / folder
    paths = files_of(root)
    assert paths
    for classes in (("N", "D"), ("0", "1"), ("COVID-19", "No finding"), ("1", "2", "3", "4", "5")):
        labelled = tuple(Sample(p, classes[i % len(classes)]) for i, p in enumerate(paths))
        index = index_of(root, paths).with_samples(labelled, classes=tuple(sorted(classes)))
        assert registry.recognise(index) is None


def test_class_names_alone_are_no_reason(registry: Registry) -> None:
    paths = [f"train/{c}/scan{i}.png" for c in ("NORMAL", "PNEUMONIA") for i in range(20)]
    assert registry.recognise(index_of(Path("chest_xray"), paths)) is None


def test_file_names_with_other_classes_are_no_reason(registry: Registry) -> None:
    paths = [f"{c}/person{i}_virus_1.jpeg" for c in ("fracture", "whole") for i in range(20)]
    assert registry.recognise(index_of(Path("x"), paths)) is None


def test_one_class_from_the_wrong_level_is_recognised_by_distinctive_names(
    registry: Registry,
) -> None:
    paths = [f"breast/SOB_B_F-14-9133-400-{i:03d}.png" for i in range(5)]
    found = registry.recognise(index_of(Path("BreaKHis_v1"), paths))
    assert found and found[0].name == "breakhis"
    # anybody's files may be called image(1).jpg
    generic = [f"Training/image({i}).jpg" for i in range(5)]
    assert registry.recognise(index_of(Path("x"), generic)) is None


def test_nine_of_ten_file_names_are_enough(registry: Registry) -> None:
    fitting = [f"NORMAL/IM-{i:04d}-0001.jpeg" for i in range(9)]
    one_off = index_of(Path("x"), [*fitting, "PNEUMONIA/a.jpeg"])
    assert registry.recognise(one_off) is not None
    assert (
        registry.recognise(index_of(Path("x"), [*fitting, "PNEUMONIA/a.jpeg", "PNEUMONIA/b.jpeg"]))
        is None
    )


def test_the_spanish_folder_name_is_recognised(registry: Registry) -> None:
    paths = [
        f"train/{c}/person{i}_bacteria_{i}.jpeg" for c in ("NORMAL", "NEUMONIA") for i in range(5)
    ]
    found = registry.recognise(index_of(Path("x"), paths))
    assert found and found[0].name == "chest-xray-pneumonia"


@pytest.mark.parametrize("name", ["pneumoniamnist.npz", "pneumoniamnist_64.npz"])
def test_archives_are_recognised_by_their_name(registry: Registry, name: str) -> None:
    index = index_of(Path("/data") / name, [f"{name}::train/{i}" for i in range(3)])
    found = registry.recognise(index)
    assert found == (registry.dataset("pneumoniamnist"), f"the archive is called {name}")
    other = index_of(Path("/data/breastmnist.npz"), ["breastmnist.npz::train/0"])
    assert registry.recognise(other) is None


def test_rfmid_needs_its_label_file_beside_the_pictures(registry: Registry, tmp_path: Path) -> None:
    samples = [Sample(f"Training/{i}.png", str(i % 2)) for i in range(4)]
    index = index_of(tmp_path, ["0/1.png"]).with_samples(samples, classes=("0", "1"))
    assert registry.recognise(index) is None
    (tmp_path / "RFMiD_Training_Labels.csv").write_text("ID,Disease_Risk\n")
    found = registry.recognise(index)
    assert found and found[0].name == "rfmid" and "RFMiD_Training_Labels.csv" in found[1]


def test_nothing_is_recognised_in_an_empty_index(registry: Registry) -> None:
    assert registry.recognise(index_of(Path("chest_xray"), [])) is None


# -- what is wrong in a file ----------------------------------------------------------------------


def complaint(tmp_path: Path, *texts: str) -> str:
    with pytest.raises(PluginError) as caught:
        load_text(tmp_path, *texts)
    return caught.value.message.replace(str(tmp_path) + "/", "")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            MODEL.replace("summary", "sumary"),
            "registry0.yaml, line 4: models.tiny.sumary is no field. Did you mean 'summary'?",
        ),
        (
            MODEL.replace("    head: [flatten, fc4]\n", ""),
            "registry0.yaml, line 2: models.tiny.head is missing",
        ),
        (
            MODEL.replace("pool", "poole"),
            "registry0.yaml, line 5: models.tiny.layers "
            "has no layer 'poole' (known: conv32, pool, bn)",
        ),
        (
            MODEL.replace("    layers: [conv8, pool]\n", ""),
            "registry0.yaml, line 2: "
            "models.tiny.layers are for the architecture 'layers', which needs them, and for no "
            "other",
        ),
        (
            MODEL.replace("28", "28.5"),
            "registry0.yaml, line 7: models.tiny.input_size can't be "
            "28.5: Input should be a valid integer",
        ),
        (
            MODEL + "    recipe: {epoch: 3}\n",
            "registry0.yaml, line 8: models.tiny.recipe has no "
            "setting 'epoch'. Did you mean 'epochs'?",
        ),
        (
            MODEL + "    title: Again\n",
            "registry0.yaml, line 8: models.tiny.title stands twice, first on line 3",
        ),
        (
            MODEL + "    name: other\n",
            "registry0.yaml, line 8: models.tiny.name is not written: the card's key is its name",
        ),
        (
            MODEL.replace("models:", "model:"),
            "registry0.yaml, line 1: model is no section. Did you mean 'models'?",
        ),
        (
            DATASET.replace("square]", "no]"),
            "registry0.yaml, line 7: datasets.shapes.classes.1 "
            "can't be False: Input should be a valid string",
        ),
        (
            DATASET.replace("positive: square", "positive: sqare"),
            "registry0.yaml, line 8: "
            "datasets.shapes.positive names 'sqare', which is no class of the card. "
            "Did you mean 'square'?",
        ),
        (
            DATASET + "    patient_pattern: 'p(\\d+'\n",
            "registry0.yaml, line 12: "
            "datasets.shapes.patient_pattern is no regular expression: missing ), unterminated "
            "subpattern at position 1",
        ),
        (
            DATASET + "    patient_pattern: 'p\\d+'\n",
            "registry0.yaml, line 12: "
            "datasets.shapes.patient_pattern must have exactly one group ( ), the patient",
        ),
        (
            DATASET + "    counts:\n      train: {round: 1}\n      tset: {round: 1}\n",
            "registry0.yaml, line 12: datasets.shapes.counts has no split 'tset' "
            "(known: train, val, test, all)",
        ),
        (
            DATASET.replace("url:", "link:"),
            "registry0.yaml, line 11: datasets.shapes.source.link is no field. Known: url, doi",
        ),
        (
            DATASET + "    model: cnn2\n",
            "registry0.yaml, line 12: datasets.shapes.model names "
            "'cnn2', which no registry has. None are installed.",
        ),
        (
            DATASET + "    class_titles: {1: square}\n",
            "registry0.yaml, line 12: "
            "datasets.shapes.class_titles has the key 1, which is no text: quote it",
        ),
        (
            DATASET.replace("images: 10", "images: !!python/object:os.system 10"),
            "registry0.yaml, line 10: datasets.shapes.images is of the type os.system; "
            "quote text, and use no tags or merge keys",
        ),
        (
            "models: &m {}\ndatasets: *m\n",
            "registry0.yaml, line 1: datasets is an alias (*name); a registry is literal data",
        ),
        ("- 1\n", "registry0.yaml, line 1: must be a mapping of models, datasets, augmentations"),
        ("models: [1]\n", "registry0.yaml, line 1: models must be a mapping from names to cards"),
    ],
)
def test_what_is_wrong_is_said_with_file_line_and_field(
    tmp_path: Path, text: str, message: str
) -> None:
    assert complaint(tmp_path, text) == message


def test_no_yaml_at_all_is_said_with_its_line(tmp_path: Path) -> None:
    assert complaint(tmp_path, "models:\n  a: [1\n").startswith(
        "registry0.yaml, line 3: is no YAML"
    )


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(PluginError, match="nowhere.yaml of skin-tools can't be read"):
        load_registry([("skin-tools", tmp_path / "nowhere.yaml")])


def test_several_files_make_one_registry(tmp_path: Path) -> None:
    both = load_text(tmp_path, MODEL, DATASET + "    model: tiny\n")
    assert both.dataset("shapes").model == "tiny"
    assert both.model("tiny").spec(2).outputs == 1
    assert isinstance(both.dataset("shapes"), DatasetCard)


def test_a_name_offered_twice_names_both(tmp_path: Path) -> None:
    with pytest.raises(
        UsageError, match="two registries offer model 'tiny': plugin-0 and plugin-1"
    ):
        load_text(tmp_path, MODEL, MODEL)


def test_an_empty_file_is_an_empty_registry(tmp_path: Path) -> None:
    assert load_text(tmp_path, "").models == {}
