"""What HiGHS prints past all its switches is kept off standard output, where JSON may be expected.

Where a choice that HiGHS found on its simplified model is not legal to 1e-6 in the model it was given, it solves once more
and says so by a bare printf, whatever is asked of it (seen with SciPy 1.17).
"""

from __future__ import annotations

import ctypes
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress

_STDOUT = 1
_BEGINNING = b"HighsMipSolverData::"


@contextmanager
def without_debug_lines() -> Iterator[None]:
    """Drop HiGHS' own lines from standard output; whatever else is written there meanwhile comes out at the end."""
    try:
        kept = os.dup(_STDOUT)
    except OSError:  # nobody listens
        yield
        return
    with tempfile.TemporaryFile() as written:
        _flush()
        os.dup2(written.fileno(), _STDOUT)
        try:
            yield
        finally:
            _flush()
            os.dup2(kept, _STDOUT)
            os.close(kept)
            written.seek(0)
            for line in written:
                if not line.startswith(_BEGINNING):
                    os.write(_STDOUT, line)


def _flush() -> None:
    """Write out what Python and C hold back for standard output."""
    if sys.stdout is not None:
        sys.stdout.flush()
    with suppress(TypeError, OSError, AttributeError):  # the C library has no name on some systems
        ctypes.CDLL(None).fflush(None)
