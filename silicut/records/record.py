"""Frozen records: saved as JSON, loaded with every mistake named, compared and hashed by content.

A record is a frozen dataclass of plain values (numbers, strings, tuples, mappings, other records). Arrays and weights
live in safetensors files beside it (`silicut.records.tensors`).
"""

from __future__ import annotations

import dataclasses
import difflib
import functools
import hashlib
import json
import os
import threading
from pathlib import Path
from typing import Any, ClassVar, Self, cast

from silicut.records.errors import BadFile


def canonical_json(value: Any) -> str:
    """Return the one JSON text of a value: keys sorted, no spaces, no NaN, equal numbers alike (2.0 is written as 2).

    Example:
        >>> canonical_json({"b": (1, 2.0), "a": None})
        '{"a":null,"b":[1,2]}'
    """
    return json.dumps(_with_plain_numbers(value), sort_keys=True, separators=(",", ":"), allow_nan=False)


def _with_plain_numbers(value: Any) -> Any:
    """Return a value in which whole numbers are integers, so that a number read from a file hashes as the one written."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, dict):
        return {key: _with_plain_numbers(item) for key, item in value.items()}
    return [_with_plain_numbers(item) for item in value] if isinstance(value, list | tuple) else value


def content_hash(value: Any) -> str:
    """Return the first 16 hexadecimal digits of the SHA-256 of a JSON-like value or of bytes.

    Example:
        >>> content_hash({"a": 1}) == content_hash({"a": 1})
        True
    """
    data = value if isinstance(value, bytes) else canonical_json(value).encode()
    return hashlib.sha256(data).hexdigest()[:16]


def write_atomically(path: Path, data: bytes) -> None:
    """Write a file so that a reader sees the old content or the new one, never a part, whatever is killed when."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}.partial")
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def read_json(path: Path) -> Any:
    """Return the content of a JSON file.

    Raises:
        BadFile: the file is missing or is not JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise BadFile(f"{path} does not exist; check the path") from None
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise BadFile(f"{path} cannot be read as JSON ({error}); restore it or make it again") from None


_MAX_PROBLEMS, _MAX_VALUE = 10, 40


@functools.cache
def _adapter(cls: Any) -> Any:
    import pydantic  # deferred: only files from outside need checking

    return pydantic.TypeAdapter(cls)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Record:
    """Base of every frozen record.

    A subclass is a frozen, keyword-only dataclass and sets `schema` to "name/version"; a file of another name or
    version is refused. Unknown and missing fields and values of other types are errors; nothing is converted.
    """

    schema: ClassVar[str]
    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid", "allow_inf_nan": False}

    def to_json(self) -> dict[str, Any]:
        """Return the record as plain JSON values, its schema first."""
        return {"schema": self.schema, **json.loads(json.dumps(dataclasses.asdict(self), allow_nan=False))}

    @property
    def hash(self) -> str:
        """The content hash: equal for equal records, on every machine."""
        return content_hash(self.to_json())

    def save(self, path: str | Path) -> Path:
        """Write the record as indented JSON, atomically, and return the path."""
        path = Path(path)
        write_atomically(path, (json.dumps(self.to_json(), indent=1, allow_nan=False) + "\n").encode())
        return path

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read a record that `save` wrote.

        Raises:
            BadFile: the file is missing, is not JSON, is another kind of record, or has wrong fields (they are named).
        """
        return cls.from_json(read_json(Path(path)), str(path))

    @classmethod
    def from_json(cls, data: Any, source: str = "record") -> Self:
        """Build the record from what `to_json` gave.

        Raises:
            BadFile: `data` has another schema or wrong fields; `source` names where it came from.
        """
        import pydantic

        found = data.get("schema") if isinstance(data, dict) else None
        if found != cls.schema:
            raise BadFile(f"{source} must be a {cls.schema!r} record, not {found!r}; make it again with this version")
        fields = json.dumps({key: value for key, value in data.items() if key != "schema"})
        try:
            return cast(Self, _adapter(cast(Any, cls)).validate_json(fields, strict=True))
        except pydantic.ValidationError as error:
            names = [field.name for field in dataclasses.fields(cls)]
            problems = [_problem(found, names) for found in error.errors(include_url=False)]
            more = f"; and {len(problems) - _MAX_PROBLEMS} more" if len(problems) > _MAX_PROBLEMS else ""
            listed = "; ".join(problems[:_MAX_PROBLEMS]) + more
            raise BadFile(f"{source} is not a valid {cls.schema} record ({listed})") from None


def _problem(error: Any, names: list[str]) -> str:
    """Return one sentence for one wrong field: "place must be rule, not value"."""
    place = ".".join(map(str, error["loc"])) or "record"
    if error["type"] == "missing":
        return f"{place} is missing"
    if error["type"] == "unexpected_keyword_argument":
        near = difflib.get_close_matches(place, names, 1) if len(error["loc"]) == 1 else []
        return f"{place} is unknown" + (f", did you mean {near[0]}?" if near else "")
    value = repr(error["input"])
    rule = error["msg"].replace("Input should be", "must be")
    return f"{place} {rule}, not {value if len(value) <= _MAX_VALUE else value[:_MAX_VALUE] + '...'}"
