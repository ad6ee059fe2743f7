"""Networks in ONNX files: captured as a `Network`, and written back into the user's own graph.

`opened` reads and checks a file, `reader` walks its nodes, one rule a kind of node (`table`) says which ATen operators it
is, `folding` evaluates what is constant or a matter of shapes alone, `captured` puts them together, and `write_back`
edits the file.
"""

from silicut.graph.from_onnx.captured import capture_onnx as capture_onnx
from silicut.graph.from_onnx.write_back import write_back as write_back

__all__ = ["capture_onnx", "write_back"]
