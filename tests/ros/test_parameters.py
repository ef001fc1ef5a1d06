"""The parameter table: everything generated from it agrees with it."""

from __future__ import annotations

import dataclasses
import json

import pytest
import yaml

from uniugg_ros import names
from uniugg_ros.parameters import (
    ON_ACTIVATE,
    ON_START,
    SPECS,
    Settings,
    json_schema,
    markdown_table,
    unknown_parameter,
    yaml_defaults,
)


def test_every_parameter_is_described_and_its_default_is_taken():
    assert SPECS.keys() == {field.name for field in dataclasses.fields(Settings)}
    for spec in SPECS.values():
        assert len(spec.description) > 10 and spec.description.endswith("."), spec.name
        assert spec.refusal(spec.default) is None
        assert (spec.low is None) == (spec.high is None)
        if spec.kind in (int, float):
            assert spec.low is not None, f"{spec.name} has no range"


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("samples", 0, "samples is 0, expected 1 to 32"),
        ("samples", True, "bool"),
        ("samples", 1.5, "float"),
        ("timeout", float("nan"), "nan"),
        ("timeout", float("inf"), "inf"),
        ("dtype", "int8", "'float32' or 'bfloat16' or 'float16'"),
        ("model", 3, "expected str"),
        ("warmup", 1, "expected bool"),
        ("modle", "x", "did you mean 'model'"),
        ("zzz", "x", "no parameter 'zzz'"),
    ],
)
def test_bad_values_are_refused_with_the_reason(name, value, words):
    with pytest.raises(ValueError, match="(?s).*") as caught:
        Settings.checked({name: value})
    assert words in str(caught.value)


def test_whole_numbers_are_taken_for_fractions():
    settings = Settings.checked({"timeout": 30})
    assert settings.timeout == 30.0 and type(settings.timeout) is float


def test_the_default_file_is_the_table():
    parameters = yaml.safe_load(yaml_defaults())["/**"]["ros__parameters"]
    assert parameters == dataclasses.asdict(Settings())
    assert [type(value) for value in parameters.values()] == [spec.kind for spec in SPECS.values()]


def test_the_shipped_file_is_up_to_date(repository):
    assert (repository / "config" / "uniugg.yaml").read_text() == yaml_defaults(), (
        "regenerate: python -m uniugg_ros.parameters > config/uniugg.yaml"
    )


def test_the_schema_takes_the_defaults_and_names_every_parameter():
    schema = json_schema()
    json.dumps(schema)
    assert set(SPECS) < set(schema["properties"])
    assert schema["additionalProperties"] is False
    for spec in SPECS.values():
        entry = schema["properties"][spec.name]
        assert entry["default"] == spec.default
        if "minimum" in entry:
            assert entry["minimum"] <= spec.default <= entry["maximum"]
        if "enum" in entry:
            assert spec.default in entry["enum"]


def test_the_table_of_the_documentation():
    rows = markdown_table().splitlines()
    assert len(rows) == len(SPECS) + 2
    assert all(row.count("|") - row.count("\\|") == 7 for row in rows)


def test_what_needs_a_restart_or_a_reload_says_so():
    assert SPECS["model"].when == ON_ACTIVATE
    assert SPECS["image_transport"].when == ON_START and SPECS["image_transport"].read_only
    assert not SPECS["steps"].read_only


def test_an_unknown_name_far_from_all_gets_no_hint():
    assert unknown_parameter("qqqq") == "there is no parameter 'qqqq'"


def test_names_are_relative_and_distinct():
    everything = [*names.SUBSCRIPTIONS, *names.PUBLICATIONS, *names.SERVICES, *names.ACTIONS]
    assert len(set(everything)) == len(everything)
    absolute = {name for name in everything if name.startswith("/")}
    assert absolute == {"/tf", "/tf_static", "/diagnostics"}  # the whole graph's
    assert names.expand("~/ask", namespace="/robot1/") == "/robot1/uniugg/ask"
    assert names.expand("/tf", namespace="/robot1") == "/tf"
