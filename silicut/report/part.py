"""What the parts of the report's records have in common."""

from __future__ import annotations

from typing import Any, ClassVar


class Part:
    """A part of a record: unknown keys in a file are errors."""

    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid"}
