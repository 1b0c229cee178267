"""What the label numbers of the MedMNIST sets mean.

Source: Yang et al. 2023, MedMNIST v2, Scientific Data 10:41, and the labels published with it.
"""

from __future__ import annotations

ORGANS = (
    "bladder", "femur-left", "femur-right", "heart", "kidney-left", "kidney-right", "liver",
    "lung-left", "lung-right", "pancreas", "spleen",
)  # fmt: skip

# one name a label, in the order of the labels; a comma would cut a name in `-o classes=a,b`
CLASS_NAMES: dict[str, tuple[str, ...]] = {
    "bloodmnist": (
        "basophil", "eosinophil", "erythroblast", "immature granulocytes", "lymphocyte",
        "monocyte", "neutrophil", "platelet",
    ),
    "breastmnist": ("malignant", "normal or benign"),
    "dermamnist": (
        "actinic keratoses and intraepithelial carcinoma", "basal cell carcinoma",
        "benign keratosis-like lesions", "dermatofibroma", "melanoma", "melanocytic nevi",
        "vascular lesions",
    ),
    "octmnist": ("choroidal neovascularization", "diabetic macular edema", "drusen", "normal"),
    "organamnist": ORGANS,
    "organcmnist": ORGANS,
    "organsmnist": ORGANS,
    "pathmnist": (
        "adipose", "background", "debris", "lymphocytes", "mucus", "smooth muscle",
        "normal colon mucosa", "cancer-associated stroma", "colorectal adenocarcinoma epithelium",
    ),
    "pneumoniamnist": ("normal", "pneumonia"),
    "retinamnist": ("0", "1", "2", "3", "4"),
    "tissuemnist": (
        "collecting duct or connecting tubule", "distal convoluted tubule",
        "glomerular endothelial cells", "interstitial endothelial cells", "leukocytes",
        "podocytes", "proximal tubule segments", "thick ascending limb",
    ),
}  # fmt: skip


def class_names(stem: str) -> tuple[str, ...] | None:
    """The names for an archive called so (`pneumoniamnist`, `pneumoniamnist_64`), or None.

    >>> class_names("pneumoniamnist_64")
    ('normal', 'pneumonia')
    """
    return CLASS_NAMES.get(stem.lower().split("_")[0])
