"""The committed JSON Schema is the one that the code writes."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema

from medimg.core.report import json_schema
from medimg.core.results import RESULTS

COMMITTED = Path(__file__).resolve().parents[2] / "docs" / "report.schema.json"


def test_the_committed_schema_is_current():
    assert json.loads(COMMITTED.read_text(encoding="utf-8")) == json_schema(), (
        "medimg schema > docs/report.schema.json"
    )


def test_it_is_a_schema_that_tells_the_commands_apart():
    schema = json_schema()

    jsonschema.Draft202012Validator.check_schema(schema)
    assert set(schema["discriminator"]["mapping"]) == set(RESULTS)
