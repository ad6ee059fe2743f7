"""The figures of a run: SVG elements for the page, and files for other places. They need matplotlib (extra "report")."""
