"""Can the label be told without looking at anatomy?"""

from __future__ import annotations

import numpy as np

from medimg.api import CheckContext, Finding, Sample
from medimg.core.checking import grouped
from medimg.core.scan import FEATURE_NAMES

FOLDS = 5
# below this a small classifier on borders and file properties is no news
WORRYING_AUROC = 0.75
FEWEST_A_CLASS = 20
FILE_FEATURES = ("width", "height", "aspect ratio", "file size", "colour mode", "format")
# grey level and spread of the whole picture see the anatomy
BORDER_FEATURES = tuple(n for n in FEATURE_NAMES if n not in ("mean", "spread"))


def check(context: CheckContext) -> list[Finding]:
    """A warning where corners, borders, size or format alone tell the classes apart.

    A small forest is cross-validated in folds that keep a patient (and copies of a picture) on
    one side; its AUROC is the mean of one class against the rest.
    """
    samples = usable(context)
    if samples is None:
        context.not_applicable(
            f"it takes two classes of {FEWEST_A_CLASS} images and {FOLDS} patients"
        )
    features = feature_table(context, samples)
    labels = np.unique([str(s.label) for s in samples], return_inverse=True)[1]
    groups = np.array([unit(context, s) for s in samples])
    area, low = cross_validated(features, labels, groups)
    if low < WORRYING_AUROC:
        return []
    carriers = most_telling(features, labels)
    return [
        Finding(
            "shortcut",
            "warning",
            f"the class can be told with AUROC {area:.2f} (95 % interval from {low:.2f}) from "
            f"{', '.join(carriers[:3])}, without looking at anatomy",
            len(carriers),
            tuple({"feature": name} for name in carriers),
            "Look at the borders and corners of both classes (medimg inspect DATASET): markers, "
            "scanners, crops, formats. A network will use them too.",
        )
    ]


def usable(context: CheckContext) -> list[Sample] | None:
    """Readable samples of the classes that have enough; None where two don't."""
    classes = grouped(context.readable(), lambda s: s.label)
    enough = [
        own
        for own in classes.values()
        if len(own) >= FEWEST_A_CLASS and len({unit(context, s) for s in own}) >= FOLDS
    ]
    return [s for own in enough for s in own] if len(enough) > 1 else None


def unit(context: CheckContext, sample: Sample) -> str:
    """What must stay in one fold: the patient, or a picture and its copies."""
    return sample.group if sample.group is not None else context.pixels(sample)


def feature_table(context: CheckContext, samples: list[Sample]) -> np.ndarray:
    """Float32[N, 16]: `FILE_FEATURES` and `BORDER_FEATURES`."""
    records = [context.record(s) for s in samples]
    modes = {mode: n for n, mode in enumerate(sorted({r.mode for r in records}))}
    formats = {kind: n for n, kind in enumerate(sorted({r.format for r in records}))}
    keep = [FEATURE_NAMES.index(name) for name in BORDER_FEATURES]
    rows = [
        [
            r.width,
            r.height,
            r.width / r.height,
            r.size_bytes,
            modes[r.mode],
            formats[r.format],
            *(r.features[keep] if r.features is not None else np.zeros(len(keep))),
        ]
        for r in records
    ]
    return np.array(rows, dtype=np.float32)


def forest() -> object:
    from sklearn.ensemble import ExtraTreesClassifier

    return ExtraTreesClassifier(100, min_samples_leaf=5, class_weight="balanced", random_state=0)


def cross_validated(
    features: np.ndarray, labels: np.ndarray, groups: np.ndarray
) -> tuple[float, float]:
    """(AUROC, lower end of its 95 % interval) out of fold, by bootstrap over groups."""
    from sklearn.model_selection import StratifiedGroupKFold, cross_val_predict

    folds = StratifiedGroupKFold(FOLDS, shuffle=True, random_state=0)
    probabilities = cross_val_predict(
        forest(), features, labels, groups=groups, cv=folds, method="predict_proba"
    )
    random = np.random.default_rng(0)
    place = np.unique(groups, return_inverse=True)[1]
    areas = []
    for _ in range(100):
        drawn = random.multinomial(place.max() + 1, np.full(place.max() + 1, 1 / (place.max() + 1)))
        weight = drawn[place]
        if all(weight[labels == k].any() for k in np.unique(labels)):
            areas.append(mean_auroc(labels, probabilities, weight))
    return mean_auroc(labels, probabilities), float(np.quantile(areas, 0.025))


def mean_auroc(
    labels: np.ndarray, probabilities: np.ndarray, weight: np.ndarray | None = None
) -> float:
    from sklearn.metrics import roc_auc_score

    classes = [1] if probabilities.shape[1] == 2 else range(probabilities.shape[1])
    return float(
        np.mean(
            [roc_auc_score(labels == k, probabilities[:, k], sample_weight=weight) for k in classes]
        )
    )


def most_telling(features: np.ndarray, labels: np.ndarray) -> list[str]:
    """Features by how much the forest leans on them, the first five."""
    importances = forest().fit(features, labels).feature_importances_  # type: ignore[attr-defined]
    names = (*FILE_FEATURES, *BORDER_FEATURES)
    return [names[i] for i in np.argsort(-importances)[:5]]
