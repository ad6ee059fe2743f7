"""Networks, data sets and trained weights by name, and the user's own by "module:function".

Names are loaded on first use, so that importing the room does not import PyTorch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from silicut.records.deferred import deferred

if TYPE_CHECKING:
    from silicut.zoo.bundled import bundled_names as bundled_names
    from silicut.zoo.bundled import bundled_record as bundled_record
    from silicut.zoo.bundled import bundled_weights as bundled_weights
    from silicut.zoo.checkpoints import assign_weights as assign_weights
    from silicut.zoo.checkpoints import load_weights as load_weights
    from silicut.zoo.data.registry import DATA_ENTRIES as DATA_ENTRIES
    from silicut.zoo.data.registry import open_data as open_data
    from silicut.zoo.registry import ENTRIES as ENTRIES
    from silicut.zoo.registry import network as network
    from silicut.zoo.registry import network_entry as network_entry
    from silicut.zoo.user import user_function as user_function

_PLACES = {
    "DATA_ENTRIES": "data.registry",
    "ENTRIES": "registry",
    "assign_weights": "checkpoints",
    "bundled_names": "bundled",
    "bundled_record": "bundled",
    "bundled_weights": "bundled",
    "load_weights": "checkpoints",
    "network": "registry",
    "network_entry": "registry",
    "open_data": "data.registry",
    "user_function": "user",
}
__all__ = list(_PLACES)

__getattr__ = deferred(__name__, _PLACES)
