"""Frozen records: JSON and back, content hashes, and every way in which a file can be wrong."""

import dataclasses
import json
import math
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from silicut.records import BadFile, Record, canonical_json, content_hash, read_json


@dataclass(frozen=True, kw_only=True)
class Part:
    n: int
    scale: float = 1.0


@dataclass(frozen=True, kw_only=True)
class Inner(Record):
    schema: ClassVar[str] = "inner/3"

    x: float


@dataclass(frozen=True, kw_only=True)
class Outer(Record):
    schema: ClassVar[str] = "outer/1"

    name: str
    width: int
    share_frac: float
    sizes: tuple[int, ...] = ()
    table: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    by_batch: Mapping[int, float] = field(default_factory=dict)
    parts: tuple[Part, ...] = ()
    inner: Inner | None = None
    kind: Literal["Adam", "SGD"] = "Adam"
    is_open: bool = False


FULL = Outer(
    name="ä 'x'",
    width=3,
    share_frac=1,
    sizes=(1, 2),
    table={"b": (1, 2.5), "a": (0.1, -0.0)},
    by_batch={8: 2.0},
    parts=(Part(n=1), Part(n=2, scale=3)),
    inner=Inner(x=2),
    is_open=True,
)


def test_a_record_comes_back_as_it_was(tmp_path):
    path = FULL.save(tmp_path / "deep" / "record.json")
    again = Outer.load(path)
    assert again == FULL
    assert again.hash == FULL.hash
    assert again.parts[1] == Part(n=2, scale=3)
    assert isinstance(again.sizes, tuple)
    assert [p.name for p in path.parent.iterdir()] == ["record.json"]
    assert path.read_text().startswith('{\n "schema": "outer/1",\n "name"')
    assert path.read_text().endswith("}\n")


def test_json_holds_plain_values_schema_first():
    plain = FULL.to_json()
    assert next(iter(plain)) == "schema"
    assert plain["parts"] == [{"n": 1, "scale": 1.0}, {"n": 2, "scale": 3}]
    assert plain == json.loads(json.dumps(plain))
    assert Outer.from_json(plain) == FULL


def test_a_record_is_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        FULL.width = 4


def test_equal_records_have_equal_hashes_and_others_do_not():
    plain = Outer(name="a", width=3, share_frac=0.5)
    assert plain.hash == Outer(name="a", width=3, share_frac=0.5).hash
    assert plain.hash != Outer(name="a", width=4, share_frac=0.5).hash
    assert plain.hash != Outer(name="b", width=3, share_frac=0.5).hash
    whole, real = Outer(name="a", width=3, share_frac=1), Outer(name="a", width=3, share_frac=1.0)
    assert whole == real
    assert whole.hash == real.hash
    reordered = dataclasses.replace(FULL, table=dict(reversed(FULL.table.items())))
    assert reordered.hash == FULL.hash
    assert Inner(x=1).hash != content_hash({"x": 1})


def test_hashes_are_the_same_everywhere_and_for_ever():
    # First 16 digits of the SHA-256 of the canonical text, as sha256sum gives it.
    assert content_hash({"b": (1, 2.0), "a": None}) == "ee743f2fa2570a1b"
    assert content_hash(b"") == "e3b0c44298fc1c14"
    assert Outer(name="a", width=3, share_frac=0.5).hash == content_hash(Outer(name="a", width=3, share_frac=0.5).to_json())
    code = f"from silicut.records import content_hash; print(content_hash({FULL.to_json()!r}))"
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert printed.strip() == FULL.hash


def test_canonical_json_is_one_text_for_equal_values():
    assert canonical_json({"b": 1, "a": (1.0, -0.0, 1e3, 0.1, True, None)}) == '{"a":[1,0,1000,0.1,true,null],"b":1}'
    assert canonical_json([2**53, float(2**53), 1e22]) == f"[{2**53},{2**53},{10**22}]"
    assert canonical_json("ä") == '"\\u00e4"'


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_numbers_that_json_lacks_are_errors(number):
    with pytest.raises(ValueError, match="not JSON compliant"):
        canonical_json({"a": number})
    with pytest.raises(ValueError, match="not JSON compliant"):
        Inner(x=number).to_json()


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


@given(PLAIN)
def test_the_hash_of_a_value_survives_json(value):
    assert content_hash(json.loads(json.dumps(value))) == content_hash(value)


@given(st.integers(-(2**60), 2**60), st.floats(allow_nan=False, allow_infinity=False), st.text(max_size=8))
def test_any_record_comes_back(width, share, name):
    record = Outer(name=name, width=width, share_frac=share)
    again = Outer.from_json(json.loads(json.dumps(record.to_json())))
    assert again == record
    assert again.hash == record.hash


# Wrong files.


def wrong(**changes):
    """Return the message for the full record's JSON with some fields changed; `...` leaves one out."""
    plain = {k: v for k, v in {**FULL.to_json(), **changes}.items() if v is not ...}
    with pytest.raises(BadFile) as caught:
        Outer.from_json(plain, "plan.json")
    prefix, suffix = "plan.json is not a valid outer/1 record (", ")"
    assert str(caught.value).startswith(prefix)
    assert str(caught.value).endswith(suffix)
    return str(caught.value)[len(prefix) : -len(suffix)]


def test_unknown_missing_and_wrong_fields_are_all_named():
    assert wrong(widht=4) == "widht is unknown, did you mean width?"
    assert wrong(zzz=4) == "zzz is unknown"
    assert wrong(name=...) == "name is missing"
    assert wrong(name=..., width="x", extra=1) == "name is missing; width must be a valid integer, not 'x'; extra is unknown"
    assert wrong(kind="adam") == "kind must be 'Adam' or 'SGD', not 'adam'"
    assert wrong(parts=[{"n": 1}, {"m": 1}]) == "parts.1.n is missing; parts.1.m is unknown"
    assert wrong(inner={"x": 1, "schema": "inner/3"}) == "inner.schema is unknown"
    assert wrong(table={"a": [1]}) == "table.a.1 is missing"
    assert wrong(name="x" * 10, sizes="y" * 100) == f"sizes must be a valid array, not '{'y' * 39}..."


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"width": "3"}, "width must be a valid integer, not '3'"),
        ({"width": 3.0}, "width must be a valid integer, not 3.0"),
        ({"width": True}, "width must be a valid integer, not True"),
        ({"width": None}, "width must be a valid integer, not None"),
        ({"share_frac": "0.5"}, "share_frac must be a valid number, not '0.5'"),
        ({"share_frac": math.nan}, "share_frac must be a finite number, not nan"),
        ({"share_frac": math.inf}, "share_frac must be a finite number, not inf"),
        ({"is_open": 1}, "is_open must be a valid boolean, not 1"),
        ({"name": 3}, "name must be a valid string, not 3"),
        ({"sizes": {"a": 1}}, "sizes must be a valid array, not {'a': 1}"),
        ({"sizes": [1, "2"]}, "sizes.1 must be a valid integer, not '2'"),
    ],
)
def test_nothing_is_converted(changes, message):
    assert wrong(**changes) == message


def test_many_problems_are_counted():
    assert wrong(**{f"x{i:02}": 0 for i in range(25)}).endswith("x09 is unknown; and 15 more")


def test_integers_are_numbers_and_keys_may_be_integers():
    again = Outer.from_json({**FULL.to_json(), "share_frac": 2, "by_batch": {"16": 1}})
    assert again.share_frac == 2
    assert again.by_batch == {16: 1}


@pytest.mark.parametrize("schema", ["outer/2", "inner/3", 3, None])
def test_other_kinds_and_versions_are_refused(schema):
    with pytest.raises(BadFile) as caught:
        Outer.from_json({**FULL.to_json(), "schema": schema}, "plan.json")
    assert str(caught.value) == f"plan.json must be a 'outer/1' record, not {schema!r}; make it again with this version"


@pytest.mark.parametrize("value", [[], [1], "text", 3, None, {}])
def test_what_is_no_record_at_all_is_refused(value):
    with pytest.raises(BadFile, match=r"record must be a 'outer/1' record, not None; make it again with this version"):
        Outer.from_json(value)


def test_missing_and_damaged_files_are_named(tmp_path):
    missing = tmp_path / "none.json"
    with pytest.raises(BadFile) as caught:
        Outer.load(missing)
    assert str(caught.value) == f"{missing} does not exist; check the path"
    for content in (b"", b'{"schema": "outer/1", "na', b"\xff\xfe", b"nonsense"):
        path = tmp_path / "torn.json"
        path.write_bytes(content)
        with pytest.raises(BadFile) as caught:
            Outer.load(path)
        assert str(caught.value).startswith(f"{path} cannot be read as JSON (")
        assert str(caught.value).endswith("); restore it or make it again")
    with pytest.raises(BadFile, match="cannot be read as JSON"):
        read_json(tmp_path)


def test_loading_names_the_file(tmp_path):
    path = tmp_path / "record.json"
    path.write_text(json.dumps({**FULL.to_json(), "width": "3"}))
    with pytest.raises(BadFile) as caught:
        Outer.load(str(path))
    assert str(caught.value) == f"{path} is not a valid outer/1 record (width must be a valid integer, not '3')"


def test_importing_records_is_light():
    code = "import sys, silicut.records; print(sorted({'torch', 'pydantic', 'safetensors', 'onnx'} & set(sys.modules)))"
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert printed.strip() == "[]"
