"""Data sets: labelled images in memory, and the user's own loaders; `silicut.zoo.data.registry` gives them names."""
