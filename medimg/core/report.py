"""The envelope that every command's report comes in, and its JSON Schema."""

from __future__ import annotations

import functools
import json
import math
import operator
import os
import platform
import re
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, create_model

from medimg import __version__
from medimg.core.errors import InputError
from medimg.core.results import RESULTS, FindingModel
from medimg.core.types import MOST_IN_REPORT, DatasetIndex, Finding, RuntimeInfo

SCHEMA = "medimg.report/1"
# what tempfile makes of the name of a file that is being written
UNFINISHED = re.compile(r"\..+\.[a-z0-9_]{8}")
DAMAGED = "Run the command that wrote it again, under another --name."


class MedimgInfo(BaseModel):
    version: str
    plugins: dict[str, str]


class BackendEnvironment(BaseModel):
    name: str
    version: str
    device: str
    precision: str


class Environment(BaseModel):
    python: str
    platform: str
    cpus: int
    backend: BackendEnvironment | None = None


class Invocation(BaseModel):
    arguments: list[str]
    settings: dict[str, Any]
    seed: int | None = None


class DatasetSummary(BaseModel):
    model_config = ConfigDict(extra="allow")

    name: str
    layout: str
    fingerprint: str | None
    images: int
    classes: dict[str, int]
    groups: int | None
    splits: dict[str, dict[str, int]]
    reason: str = ""
    card: str | None = None
    recognised_by: str = ""
    patients: str | None = None
    positive: str | None = None
    split_hash: str | None = None


class Envelope(BaseModel):
    """What is the same in every report."""

    model_config = ConfigDict(populate_by_name=True, allow_inf_nan=False)

    schema_: str = Field(SCHEMA, alias="schema")
    command: str
    created: str
    medimg: MedimgInfo
    environment: Environment
    invocation: Invocation
    dataset: DatasetSummary | None = None
    result: Any
    findings: list[FindingModel] = []
    seconds: float


def report_models() -> dict[str, type[Envelope]]:
    """A report model for each command, `result` typed."""
    return {
        command: create_model(
            "".join(part.title() for part in command.split("-")) + "Report",
            __base__=Envelope,
            command=(Literal[command], ...),  # type: ignore[valid-type, arg-type]
            result=(result, ...),
        )
        for command, result in RESULTS.items()
    }


def json_schema() -> dict[str, Any]:
    """The JSON Schema of every report, discriminated by `command`."""
    any_of_them: Any = functools.reduce(operator.or_, report_models().values())
    union: Any = Annotated[any_of_them, Field(discriminator="command")]
    schema = TypeAdapter(union).json_schema(by_alias=True, mode="serialization")
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "medimg report",
        **schema,
    }


def now() -> str:
    """UTC, ISO 8601."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def finite(value: Any) -> Any:
    """The same data as JSON can hold it: arrays as lists, NaN and infinities as null."""
    if isinstance(value, Mapping):
        return {readable(str(k)): finite(v) for k, v in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [finite(v) for v in value]
    if hasattr(value, "tolist"):
        return finite(value.tolist())
    if isinstance(value, Path):
        return value.as_posix()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return readable(value) if isinstance(value, str) else value


def readable(text: str) -> str:
    r"""The text with what no UTF-8 holds (bytes of an odd file name) as escapes.

    >>> readable("r\udce9sum")
    'r\\udce9sum'
    """
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()


def summarise(
    index: DatasetIndex, fingerprint: str | None, split_hash: str | None = None
) -> DatasetSummary:
    """The `dataset` part of a report."""
    groups = index.groups()
    return DatasetSummary(
        name=index.name,
        layout=index.layout,
        fingerprint=fingerprint,
        images=len(index),
        classes=index.class_counts(),
        groups=len(groups) if groups else None,
        splits=index.split_counts(),
        reason=index.reason,
        card=index.card,
        recognised_by=index.recognised_by,
        patients=index.patients,
        positive=index.positive,
        split_hash=split_hash,
    )


def build(
    command: str,
    result: Any,
    *,
    arguments: list[str],
    settings: Mapping[str, Any],
    seed: int | None,
    seconds: float,
    plugins: Mapping[str, str],
    dataset: DatasetSummary | None = None,
    findings: tuple[Finding, ...] = (),
    runtime: RuntimeInfo | None = None,
) -> Envelope:
    """The report of one command.

    Args:
        result: a mapping or a model of `medimg.core.results`.

    Raises:
        ValidationError: the result is not of the command's shape (a bug).
    """
    model = report_models().get(command, Envelope)
    backend = None
    if runtime is not None:
        backend = {
            "name": runtime.name,
            "version": runtime.version,
            "device": runtime.device,
            "precision": runtime.precision,
        }
    data = result.model_dump() if isinstance(result, BaseModel) else result
    return model.model_validate(
        {
            "schema": SCHEMA,
            "command": command,
            "created": now(),
            "medimg": {"version": __version__, "plugins": dict(plugins)},
            "environment": {
                "python": platform.python_version(),
                "platform": platform.platform(),
                "cpus": os.cpu_count() or 1,
                "backend": backend,
            },
            "invocation": {
                "arguments": finite(arguments),
                "settings": finite(settings),
                "seed": seed,
            },
            "dataset": finite(dataset.model_dump()) if dataset else None,
            "result": finite(data),
            "findings": [finite(asdict(cut(f))) for f in findings],
            "seconds": round(seconds, 3),
        }
    )


def cut(finding: Finding) -> Finding:
    """A finding with as many items as a report holds."""
    return replace(finding, items=finding.items[:MOST_IN_REPORT])


def to_json(report: Envelope) -> str:
    return report.model_dump_json(by_alias=True, indent=2) + "\n"


def write_atomically(path: Path, data: str | bytes) -> None:
    """Writes beside the file and moves it into place: the old file or the new one, never half.

    A link keeps pointing where it did. Devices and pipes (/dev/stdout) are written into, never
    replaced.

    Raises:
        InputError: the disk is full, the folder can't be written, or `path` is a folder.
    """
    # file names that are no UTF-8 are given back byte for byte
    content = data.encode("utf-8", "surrogateescape") if isinstance(data, str) else data
    if path.is_dir():
        raise InputError(f"{path} is a folder", "Give the name of a file.")
    try:
        if is_stream(path):
            write_into(path, content)
            return
        path = Path(os.path.realpath(path)) if path.is_symlink() else path
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(content)
            os.chmod(temporary, 0o644)
            os.replace(temporary, path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
    except BrokenPipeError:
        raise
    except OSError as error:
        raise cannot_write(path, error) from error


def forget_unfinished(folder: Path) -> None:
    """Removes what `write_atomically` leaves in a folder, and in those below, where the process
    was killed while it wrote."""
    for left in folder.rglob(".*"):
        if UNFINISHED.fullmatch(left.name) and left.is_file():
            left.unlink(missing_ok=True)


def is_stream(path: Path) -> bool:
    """Whether `path` is a device, a pipe or another name of an open file (/dev/stdout)."""
    full = os.path.abspath(path)
    return full.startswith(("/dev/fd/", "/proc/", "/dev/std")) or (
        path.exists() and not path.is_file()
    )


def write_into(path: Path, content: bytes) -> None:
    """Appends to a device, pipe or open file, after what was printed so far."""
    sys.stdout.flush()
    with path.open("ab", buffering=0) as file:
        rest = memoryview(content)
        while rest:
            rest = rest[file.write(rest) or 0 :]


def cannot_write(path: Path, error: OSError) -> InputError:
    """The error for a file that can't be written, with what to do about it."""
    import errno

    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return InputError(
            f"the disk is full: {path} can't be written",
            "Free some space, or write elsewhere: --out DIR",
        )
    return InputError(
        f"{path} can't be written: {error.strerror or error}", "Write elsewhere: --out DIR"
    )


def read_report(path: Path) -> dict[str, Any]:
    """A report as plain data.

    Raises:
        InputError: there is none, or it is not a medimg report.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{path} does not exist", "Is this a run folder that finished?") from None
    except (OSError, ValueError) as error:
        raise InputError(f"{path} can't be read as JSON: {error}", DAMAGED) from error
    if not isinstance(data, dict) or not str(data.get("schema", "")).startswith("medimg.report/"):
        raise InputError(f"{path} is no medimg report", DAMAGED)
    check_schema(path, data)
    return data


def check_schema(path: Path, data: Mapping[str, Any]) -> None:
    """Raises InputError where a report is of another schema than this medimg's."""
    if data.get("schema") != SCHEMA:
        raise InputError(
            f"{path} is of the schema {data.get('schema')}, this medimg reads {SCHEMA}",
            "Read it with the medimg that wrote it (medimg.version in the file), or update this "
            "one.",
        )


def check_shape(data: Mapping[str, Any]) -> list[str]:
    """What is wrong with a report's shape, in words; empty where it fits the schema."""
    model = report_models().get(str(data.get("command")), Envelope)
    try:
        model.model_validate(data)
    except ValidationError as error:
        return [f"{'.'.join(str(p) for p in e['loc'])}: {e['msg']}" for e in error.errors()]
    return []


def python_command() -> list[str]:
    """The arguments this process was started with, the program's path left out."""
    return list(sys.argv[1:])
