import gzip
import sys

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from silicut.records import BadFile, ConfigError, ToolMissing
from silicut.training import Recipe, evaluate, fit, is_training_data
from silicut.zoo import network, open_data
from silicut.zoo.data.folders import image_folder
from silicut.zoo.data.idx import read_idx
from silicut.zoo.data.images import Augmentation, ImageData, Labelled


def cifar_batch(path, n, seed=0):
    generator = np.random.default_rng(seed)
    rows = generator.integers(0, 256, (n, 3073), np.uint8)
    rows[:, 0] = np.arange(n) % 10
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(rows.tobytes())
    return rows


@pytest.fixture(scope="module")
def cifar10_like(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cifar") / "cifar-10-batches-bin"
    batches = [cifar_batch(folder / f"data_batch_{i}.bin", 10_000, i) for i in range(1, 6)]
    return folder, batches, cifar_batch(folder / "test_batch.bin", 30)


def test_cifar10_holds_out_the_last_5000_training_images(cifar10_like):
    folder, batches, test = cifar10_like
    data = open_data(f"cifar10:{folder.parent}")
    assert is_training_data(data)
    assert (data.n_training, data.n_evaluation, data.n_classes, data.input_shape) == (45_000, 5_030, 10, (3, 32, 32))
    x, _ = next(data.evaluation_batches(2))
    pixel = batches[4][5000, 1:].reshape(3, 32, 32)[1, 4, 5] / 255
    assert float(x[0, 1, 4, 5]) == pytest.approx((pixel - 0.456) / 0.224, rel=1e-5)
    labels = torch.cat([y for _, y in data.evaluation_batches(1000)])
    assert np.array_equal(labels, np.concatenate([batches[4][5000:, 0], test[:, 0]]))


def test_cifar10_test_trains_on_all(cifar10_like):
    folder, _, test = cifar10_like
    data = open_data(f"cifar10-test:{folder}")
    assert (data.n_training, data.n_evaluation) == (50_000, 30)
    ((x, y),) = data.evaluation_batches(100)
    assert np.array_equal(y, test[:, 0])
    assert x.dtype == torch.float32


def test_raw_cifar10_holds_the_numbers_of_the_files(cifar10_like):
    folder, _, test = cifar10_like
    data = open_data(f"cifar10-raw:{folder}")
    ((x, _),) = data.evaluation_batches(100)
    assert np.array_equal(x, test[:, 1:].reshape(-1, 3, 32, 32))
    assert (data.n_training, data.n_evaluation) == (50_000, 30)


def test_damaged_cifar10_is_named(tmp_path):
    def message():
        with pytest.raises(BadFile) as caught:
            open_data(f"cifar10:{tmp_path}")
        return str(caught.value)

    assert "data_batch_1.bin does not exist; give the folder of the binary version of CIFAR-10" in message()
    (tmp_path / "data_batch_1").write_bytes(b"\x80")
    assert "is a Python pickle, which would execute code when read; download the binary version" in message()
    (tmp_path / "data_batch_1.bin").write_bytes(b"x" * 3074)
    assert "must hold a whole number of records of 3073 bytes, not 3074 bytes; copy it again" in message()
    (tmp_path / "data_batch_1.bin").write_bytes(b"\xff" * 3073)
    assert "must hold labels 0 to 9, not 255" in message()
    for i in range(1, 6):
        cifar_batch(tmp_path / f"data_batch_{i}.bin", 3)
    assert "data_batch_1.bin must hold 10000 images, not 3; copy it again" in message()


def idx_files(folder, end="", n=12):
    folder.mkdir(parents=True, exist_ok=True)
    for kind in ("train", "t10k"):
        images = np.arange(n * 28 * 28, dtype=np.uint64).astype(np.uint8).tobytes()
        parts = {
            f"{kind}-images-idx3-ubyte": b"\0\0\x08\x03" + b"".join(k.to_bytes(4, "big") for k in (n, 28, 28)) + images,
            f"{kind}-labels-idx1-ubyte": b"\0\0\x08\x01" + n.to_bytes(4, "big") + bytes(i % 10 for i in range(n)),
        }
        for name, content in parts.items():
            (folder / (name + end)).write_bytes(gzip.compress(content) if end else content)


@pytest.mark.parametrize(("name", "inner"), [("mnist", "MNIST/raw"), ("fashion-mnist", "FashionMNIST/raw"), ("mnist", "")])
@pytest.mark.parametrize("end", ["", ".gz"])
def test_idx_files_are_read(tmp_path, name, inner, end):
    idx_files(tmp_path / inner, end)
    data = open_data(f"{name}:{tmp_path}")
    assert (data.n_training, data.n_evaluation, data.n_classes, data.input_shape) == (12, 12, 10, (1, 28, 28))
    ((x, y),) = data.evaluation_batches(12)
    assert y.tolist() == [*range(10), 0, 1]
    spread = float(x[0, 0, 0, 255 % 28] - x[0, 0, 0, 0])
    assert spread > 0


def test_damaged_idx_files_are_named(tmp_path):
    with pytest.raises(BadFile, match="train-images-idx3-ubyte does not exist"):
        open_data(f"mnist:{tmp_path}")
    idx_files(tmp_path)
    path = tmp_path / "t10k-images-idx3-ubyte"
    whole = path.read_bytes()
    for content, message in ((whole[:-5], "cut off"), (b"", "first four bytes"), (b"\0\0\x0d\x01" + whole, "idx file")):
        path.write_bytes(content)
        with pytest.raises(BadFile, match=message):
            open_data(f"mnist:{tmp_path}")
    packed = tmp_path / "x.gz"
    packed.write_bytes(gzip.compress(whole)[:-20])
    with pytest.raises(BadFile, match="not a readable gzip file"):
        read_idx(packed)


def test_digits_need_no_download():
    data = open_data("digits")
    assert (data.n_training, data.n_evaluation, data.n_classes, data.input_shape) == (1437, 360, 10, (1, 32, 32))
    values = torch.cat([x for x, _ in data.evaluation_batches(100)])
    assert abs(float(values.mean())) < 0.2
    assert 0.7 < float(values.std()) < 1.3


def test_missing_scikit_learn_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(ToolMissing, match=r"scikit-learn is not installed.*silicut\[demo\]"):
        open_data("digits")


def test_a_small_network_learns_digits_quickly():
    torch.manual_seed(0)
    module, data = network("lenet5-32"), open_data("digits").subset(600, 200)
    fit(module, data, Recipe(epochs=6, batch_size=32, learning_rate=0.03, precision="fp32"))
    assert evaluate(module, data).accuracy_frac > 0.75


def picture_folders(folder, sizes=((10, 8),), kinds=("train", "test"), classes=("cat", "dog")):
    image = pytest.importorskip("PIL.Image")
    for kind in kinds:
        for label, name in enumerate(classes):
            (folder / kind / name).mkdir(parents=True)
            for i, size in enumerate(sizes):
                image.new("RGB", size, (200 * label, 100, 50)).save(folder / kind / name / f"{i}.png")
            (folder / kind / name / "notes.txt").write_text("no image")


def test_image_folders_are_read(tmp_path):
    picture_folders(tmp_path, kinds=("train", "val"))
    data = open_data(f"images:{tmp_path}")
    assert (data.n_training, data.n_evaluation, data.n_classes, data.input_shape) == (2, 2, 2, (3, 8, 10))
    ((x, y),) = data.evaluation_batches(4)
    assert y.tolist() == [0, 1]
    assert float(x[1, 0, 0, 0] - x[0, 0, 0, 0]) == pytest.approx(200 / 255 / 0.229, rel=1e-5)


def test_image_folders_are_scaled(tmp_path):
    picture_folders(tmp_path, sizes=((10, 8), (6, 30)))
    with pytest.raises(BadFile, match=r"images must have one size, not 10x8 and 6x30; give the size .*images:DIR@64"):
        open_data(f"images:{tmp_path}")
    assert open_data(f"images:{tmp_path}@16").input_shape == (3, 16, 16)
    with pytest.raises(ConfigError, match="size must be 1 or more, not 0"):
        image_folder(tmp_path, 0)


def test_wrong_image_folders_are_named(tmp_path):
    with pytest.raises(BadFile, match="train does not exist; it must hold one folder a class"):
        open_data(f"images:{tmp_path}")
    picture_folders(tmp_path)
    (tmp_path / "train" / "owl").mkdir()
    with pytest.raises(BadFile, match="the same classes in train/ and test/, and owl is not"):
        open_data(f"images:{tmp_path}")
    (tmp_path / "test" / "owl").mkdir()
    with pytest.raises(BadFile, match="owl holds no images"):
        open_data(f"images:{tmp_path}")
    (tmp_path / "train" / "owl" / "0.png").write_bytes(b"no picture")
    with pytest.raises(BadFile, match=r"0\.png is not a readable image"):
        open_data(f"images:{tmp_path}")


def test_missing_pillow_is_named(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(ToolMissing, match=r"Pillow is not installed.*silicut\[images\]"):
        image_folder(tmp_path)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("cifar10", "data must name its folder as cifar10:DIR, not 'cifar10'"),
        ("digits:/data", "data must be plain 'digits', which needs no folder, not 'digits:/data'"),
        ("cifar11:/data", "data must be a known name such as 'cifar10'"),
        ("zzz:load", "data must be one of digits, .*, not 'zzz:load'; your own is named module:function"),
        ("", "data must be one of digits"),
    ],
)
def test_wrong_names_of_data_are_answered(spec, message):
    with pytest.raises(ConfigError, match=message):
        open_data(spec)


def ramp(n=40):
    """Images whose pixels tell image, row and column apart."""
    images = np.arange(n)[:, None, None, None] + 5 * np.arange(6)[:, None] + np.arange(5) + np.zeros((1, 2, 1, 1))
    return Labelled(images.astype(np.uint8), np.arange(n, dtype=np.int64) % 4)


@given(seed=st.integers(0, 10_000), pad=st.integers(0, 3), is_flipped=st.booleans())
def test_augmented_images_are_crops_written_out(seed, pad, is_flipped):
    images = ramp(4).images
    out = Augmentation(crop_padding=pad, is_flipped=is_flipped).apply(images, np.random.default_rng(seed))
    assert out.shape == images.shape
    for image, result in zip(images, out, strict=True):
        padded = np.pad(image, ((0, 0), (pad, pad), (pad, pad)))
        crops = [padded[:, i : i + 6, j : j + 5] for i in range(2 * pad + 1) for j in range(2 * pad + 1)]
        crops += [crop[..., ::-1] for crop in crops] if is_flipped else []
        assert any(np.array_equal(result, crop) for crop in crops)


def test_augmentation_reaches_every_crop_and_both_sides():
    images = np.repeat(ramp(1).images, 500, axis=0)
    out = Augmentation(crop_padding=1, is_flipped=True).apply(images, np.random.default_rng(0))
    assert len(np.unique(out.reshape(500, -1), axis=0)) == 18


def test_order_depends_on_seed_and_epoch_alone():
    data = ImageData("ramp", ramp(), ramp(), mean=(0.5, 0.5), std=(0.5, 0.5), augmentation=Augmentation(crop_padding=1))

    def epoch(epoch, seed):
        np.random.default_rng().random()
        return torch.cat([x for x, _ in data.training_batches(epoch, 16, seed)])

    assert torch.equal(epoch(3, 1), epoch(3, 1))
    assert not torch.equal(epoch(3, 1), epoch(4, 1))
    assert not torch.equal(epoch(3, 1), epoch(3, 2))
    assert epoch(0, 0).shape == (40, 2, 6, 5)


def test_every_image_is_seen_once_and_a_lone_last_one_is_left_out():
    data = ImageData("ramp", ramp(33), ramp(33), mean=(0.0, 0.0), std=(1.0, 1.0))
    seen = torch.cat([(x[:, 0, 0, 0] * 255).round() for x, _ in data.training_batches(0, 16, 0)])
    assert len(seen) == 32
    assert len(seen.unique()) == 32
    assert sum(len(y) for _, y in data.evaluation_batches(16)) == 33


def test_subsets_are_the_first_images():
    data = ImageData("ramp", ramp(), ramp(), mean=(0.0, 0.0), std=(1.0, 1.0)).subset(10, 5)
    assert (data.n_training, data.n_evaluation) == (10, 5)
    with pytest.raises(ValueError, match="n_evaluation must be from 1 to 5, not 6"):
        data.subset(1, 6)
