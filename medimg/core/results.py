"""The `result` part of each command's report; CONTRACT of what scripts may rely on."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from medimg.core.types import Severity


class Result(BaseModel):
    """Numbers that don't exist are null, never NaN."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


Counts = dict[str, int]
SplitCounts = dict[str, Counts]


class FindingModel(BaseModel):
    model_config = ConfigDict(extra="forbid")

    check: str
    severity: Severity
    message: str
    count: int = 0
    items: list[dict[str, Any]] = Field(default_factory=list)
    hint: str = ""


class InspectResult(Result):
    layout_reason: str
    sizes: dict[str, Any]
    modes: Counts
    formats: Counts
    intensity: dict[str, Any]
    groups: dict[str, Any] | None = None
    plots: list[str] = []
    augmentation: dict[str, Any] | None = None
    page: str | None = None


class CheckStatus(Result):
    status: str
    count: int = 0
    seconds: float = 0.0
    reason: str | None = None


class Baseline(Result):
    """An earlier report whose findings were accepted, and what of it is still there.

    `unchecked`: its checks that were not run to their end this time.
    """

    file: str
    findings: list[FindingModel]
    unchecked: list[str] = []


class VerifyResult(Result):
    """What verify found.

    `from_cache`: files known from an earlier run; `partial`: files that were not read;
    `interrupted`: not all files were read, or not all checks run; `beyond`: digests of the items
    of each check that the report does not hold, by which a later baseline knows them.
    """

    checks: dict[str, CheckStatus]
    files: int
    images_per_second: float | None
    clean: str | None = None
    baseline: Baseline | None = None
    from_cache: int = 0
    partial: int = 0
    interrupted: bool = False
    page: str | None = None
    beyond: dict[str, list[str]] = {}


class FoldSplit(Result):
    """One fold as a complete split, in which it is the test part."""

    counts: SplitCounts
    groups: Counts | None
    file: str
    hash: str


class SplitResult(Result):
    """A split; with `folds` the parts are the folds, and each fold's own split stands there."""

    ratios: dict[str, float]
    counts: SplitCounts
    groups: Counts | None
    file: str
    hash: str = ""
    distance: float | None = None
    note: str | None = None
    folds: list[FoldSplit] | None = None


class BalanceResult(Result):
    method: str
    before: Counts
    after: Counts
    class_weights: dict[str, float]
    synthetic: int = 0
    file: str
    split: str | None = None
    note: str | None = None
    images: str | None = None


class Curve(Result):
    learning_rate: list[float]
    loss: list[float]


class SeedsRangeTest(Result):
    """The range test of one seed; `suggestion` is null where it shows no safe rate."""

    seed: int
    suggestion: float | None
    candidates: dict[str, float | None]
    curve: Curve
    reason: str


class LrFindResult(Result):
    """`curve` is the first seed's, raw; `agreement` the seeds' highest suggestion over their
    lowest, null for fewer than two."""

    suggestion: float | None
    rule: str | None
    candidates: dict[str, float | None]
    curve: Curve
    reason: str
    seeds: list[SeedsRangeTest] = []
    agreement: float | None = None
    plots: list[str] = []


class Parameters(Result):
    total: int
    trainable: int


class LossAndError(Result):
    """On validation: log loss in nats, and expected calibration error."""

    log_loss: float | None
    ece: float | None


class RecalibrationMap(Result):
    """logits' = slope * logits + intercepts; `intercept` is that of the positive class's log odds
    in two classes, null otherwise."""

    slope: float
    intercept: float | None
    intercepts: dict[str, float]


class Recalibration(Result):
    """What was done to the probabilities after training on other class shares than the data's.

    `method`: `prior` (exact, nothing fitted), `slope-and-intercept` or `intercept` (fitted on
    validation), `approximate-prior` (nothing could be fitted; `reason` says why). `order`: what
    was done, in order. `shares`: each class's share of the training `data`, of the `training`
    loss, and of `validation`.
    """

    method: str
    reason: str
    order: list[str]
    parameters: RecalibrationMap
    shares: dict[str, dict[str, float]]
    images: int | None
    before: LossAndError | None
    after: LossAndError | None


class KeptFeatures(Result):
    """What a frozen backbone gave, once, for the head to be trained on: `size` numbers for each of
    `images` pictures, those of the training part in so many augmented `views`."""

    images: int
    size: int
    views: int
    seconds: float
    from_cache: bool


class Difference(Result):
    before: float
    after: float
    difference: float
    ci95: tuple[float, float] | None = None
    p: float | None = None
    test: str | None = None
    reason: str | None = None


class Change(Result):
    """Validation before and after, as pairs: `helped` is null where the interval of the deciding
    `metric`'s difference holds 0."""

    metric: str | None
    helped: bool | None
    differences: dict[str, Difference]


class Opening(Result):
    """Stages of the network that began to be trained in an epoch, counted from 1."""

    epoch: int
    stages: list[str]


class TrainResult(Result):
    model: str
    parameters: Parameters
    epochs: int
    best_epoch: int
    stopped_by: str
    history: dict[str, list[float | None]]
    metrics: dict[str, float | None]
    threshold: dict[str, Any] | None
    images_per_second: float | None
    parent: str | None = None
    before: dict[str, float | None] | None = None
    change: Change | None = None
    learning_rate: float | None = None
    opened: list[Opening] = []
    weights: dict[str, Any] | None = None
    features: KeptFeatures | None = None
    split: str | None = None
    resize: str | None = None
    balance: BalanceResult | None = None
    recalibration: Recalibration | None = None
    artifacts: list[str] = []


class MetricValue(Result):
    value: float | None
    ci95: tuple[float, float] | None = None
    method: str | None = None
    n: int | None = None
    reason: str | None = None


Metrics = dict[str, MetricValue]


class Subgroup(Result):
    """One value of a column; `suppressed` says why there are no metrics."""

    images: int
    patients: int | None
    classes: dict[str, int]
    metrics: Metrics
    suppressed: str | None = None


class Gap(Result):
    """Highest less lowest among the subgroups that are shown: the largest of `differences`, for
    which the interval allows."""

    value: float
    highest: str
    lowest: str
    differences: int = 1
    ci95: tuple[float, float] | None = None
    method: str | None = None
    reason: str | None = None


class SubgroupTable(Result):
    groups: dict[str, Subgroup]
    gap: dict[str, Gap]


class External(Result):
    """Data that are not the run's own: which class is called what, and in what they differ.

    `mapping`: the dataset's class to the model's, to the empty string where left out. `training`,
    `here`: counts, sizes and grey levels of the training images and of these; `differences` in
    words.
    """

    mapping: dict[str, str] = {}
    training: dict[str, Any] | None = None
    here: dict[str, Any]
    differences: list[str] = []


class BeforeAfter(Result):
    before: float | None
    after: float | None


class Temperature(Result):
    """What probabilities were divided by, as logarithms, and what that does on `fitted_on`.

    `kept`: the file of the run that keeps it; null for predictions made elsewhere.
    """

    value: float
    fitted_on: str
    images: int
    log_loss: BeforeAfter
    ece: BeforeAfter
    kept: str | None = None


class LinearBaseline(Result):
    """A run of the linear backend that was evaluated on the same images."""

    run: str
    metrics: Metrics


class EvaluateResult(Result):
    split: str
    unit: str = "image"
    images: int
    groups: int | None
    positive: str | None
    threshold: dict[str, Any] | None
    temperature: Temperature | None = None
    metrics: Metrics
    metrics_at_half: Metrics | None = None
    per_class: dict[str, dict[str, float | int | None]]
    per_class_intervals: dict[str, Metrics] = {}
    confusion_matrix: dict[str, Any]
    baseline: Metrics
    linear_baseline: LinearBaseline | None = None
    validation: Metrics | None = None
    calibration: dict[str, Any]
    by_group: dict[str, Any] | None = None
    subgroups: dict[str, SubgroupTable] = {}
    ci: dict[str, Any]
    test_looks: int | None = None
    looks_in_part: list[dict[str, Any]] = []
    pictures: str | None = None
    training: dict[str, Any]
    external: External | None = None
    phantom: bool = False
    artifacts: list[str] = []


class Cost(Result):
    """What a training took; seconds of wall time on `device`, parameters of the network."""

    seconds: float | None = None
    epochs: int | None = None
    images_per_second: float | None = None
    parameters: int | None = None
    trainable: int | None = None
    device: str | None = None


class ComparedRun(Result):
    """`settings`: those that are not the same in all runs; `looks`: how often the part had been
    looked at when this run was evaluated; `mark`: `best` in the ranking metric, `tied`
    with it, or `untested` against it."""

    name: str
    model: str | None
    backend: str | None
    settings: dict[str, Any]
    metrics: Metrics
    cost: Cost = Cost()
    looks: int | None = None
    mark: str | None = None
    evaluation: str | None = None
    threshold: dict[str, Any] | None = None


class Pair(Result):
    """a minus b, `interval`: how ci95 was computed. `family`: the runs against the `baseline`,
    against the `best`, or `all pairs`; Holm's correction, within one metric, counts `tests`: all
    pairs where the reference was chosen as the best on the same images."""

    a: str
    b: str
    metric: str
    difference: float | None
    ci95: tuple[float, float] | None = None
    test: str | None = None
    p: float | None = None
    p_holm: float | None = None
    tests: int | None = None
    interval: str | None = None
    reason: str | None = None
    family: str = "baseline"


class OmnibusTest(Result):
    """Whether any run differs; `images`: those that neither all runs nor none were right on."""

    metric: str
    test: str
    statistic: float
    df: int
    p: float
    runs: int
    images: int


class SeedSpread(Result):
    mean: float | None
    sd: float | None
    n: int


class SeedsOfOne(Result):
    """Runs that differ in their seed alone: how much training varies, apart from sampling."""

    runs: list[str]
    seeds: list[int]
    settings: dict[str, Any]
    metrics: dict[str, SeedSpread]


class BackendAgreement(Result):
    """One recipe in two backends: share of same answers, distance of probabilities."""

    a: str
    b: str
    backends: tuple[str | None, str | None]
    images: int
    same_answers: float
    probability: dict[str, float]


class ImagesChanged(Result):
    """Images that were added, or labelled otherwise, …: how many, and the first thousand."""

    count: int
    items: list[dict[str, str]]


class DatasetVersions(Result):
    """Verify reports of two versions of a dataset; lists of two are [a, b].

    `images`: `added`, `removed`, `changed` (other bytes under one path), `relabelled`,
    `other_part`, `other_patient`, `renamed`; null where a report lists no images.
    """

    a: str
    b: str
    same_data: bool | None
    images: dict[str, ImagesChanged] | None = None
    facts: dict[str, list[Any]]
    classes: dict[str, list[int]]
    splits: dict[str, list[int]]
    new: list[FindingModel]
    gone: list[FindingModel]
    same: list[FindingModel]
    only_in_one: dict[str, list[str]]


class RefusedRun(Result):
    run: str
    why: str


class CompareResult(Result):
    """`ranked_by`: the metric that the best is the best in; `looks`: how often evaluations in the
    runs' folders have looked at images of the part, as of now; `versions` where verify reports
    are compared instead of runs."""

    runs: list[ComparedRun]
    baseline: str | None
    pairs: list[Pair]
    comparable: bool
    refused: list[RefusedRun]
    metric: str | None = None
    samples: int | None = None
    artifacts: list[str] = []
    split: str | None = None
    classes: dict[str, int] = {}
    patients: int | None = None
    positive: str | None = None
    ranked_by: str | None = None
    baseline_chosen: str | None = None
    family: str | None = None
    omnibus: list[OmnibusTest] = []
    configurations: list[SeedsOfOne] = []
    agreement: list[BackendAgreement] = []
    majority: Metrics | None = None
    looks: int | None = None
    resamples: int | None = None
    conclusions: list[str] = []
    phantom: bool = False
    versions: list[DatasetVersions] = []


class Prediction(Result):
    path: str
    label: str
    probabilities: dict[str, float]


class PredictResult(Result):
    run: str
    classes: list[str]
    threshold: float | None = None
    predictions: list[Prediction]
    failed: list[dict[str, str]] = []


class DemoResult(Result):
    steps: list[dict[str, Any]]
    lesson: dict[str, Any] | None
    data: str
    open: list[str] = []


class DoctorResult(Result):
    backends: list[dict[str, Any]]
    packages: dict[str, str | None]
    broken: list[dict[str, str]] = []


class PluginRow(Result):
    name: str
    kind: str
    distribution: str
    version: str
    status: str
    reason: str = ""


RESULTS: dict[str, type[Result]] = {
    "inspect": InspectResult,
    "verify": VerifyResult,
    "split": SplitResult,
    "balance": BalanceResult,
    "lr-find": LrFindResult,
    "train": TrainResult,
    "finetune": TrainResult,
    "evaluate": EvaluateResult,
    "compare": CompareResult,
    "predict": PredictResult,
    "doctor": DoctorResult,
    "demo": DemoResult,
}
