"""Real data for the tests that need it: the folder SILICUT_DATA, or shared/data beside the repository."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from silicut.records import default_cache_folder


@pytest.fixture(scope="session")
def data_folder():
    folder = Path(os.environ.get("SILICUT_DATA", Path(__file__).resolve().parents[3] / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"needs real data and {folder} does not exist; set SILICUT_DATA")
    return folder


@pytest.fixture(scope="session")
def cifar10_folder(data_folder):
    """A folder with cifar-10-batches-bin; unpacked once into the user's cache where the data come packed."""
    if (data_folder / "cifar-10-batches-bin").is_dir():
        return data_folder
    if not (data_folder / "unpack.py").is_file():
        pytest.skip(f"needs CIFAR-10 and {data_folder} has no cifar-10-batches-bin")
    unpacked = default_cache_folder() / "test-data"
    unpacked.mkdir(parents=True, exist_ok=True)
    subprocess.run([sys.executable, data_folder / "unpack.py", unpacked, "cifar10"], check=True)
    return unpacked
