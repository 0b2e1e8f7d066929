"""Image folders in ImageNet's layout, made with PIL."""

import shutil
import struct
import zlib

import numpy as np
import pytest
import torch
from PIL import EpsImagePlugin, Image
from torchvision.datasets import ImageFolder as TorchvisionFolder

from genuq.data import ImageFolder, image_folder, subset
from genuq.errors import DataError


def save(path, size=(20, 12), seed=0, mode="RGB", **options) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    channels = (3,) if mode == "RGB" else ()
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], *channels), dtype=np.uint8)
    Image.fromarray(pixels).save(path, **options)


@pytest.fixture
def folder(tmp_path):
    root = tmp_path / "pictures"
    for seed, file in enumerate(["n02/b.JPEG", "n02/a.png", "n01/z.png", "n10/deep/er.jpg", "n10/c.png"]):
        save(root / file, seed=seed)
    (root / "n02" / "notes.txt").write_text("no image")
    (root / "n02" / ".hidden.png").write_text("no image")
    (root / ".thumbnails").mkdir()
    (root / "labels.csv").write_text("beside the classes")
    return root


def test_a_file_of_another_kind_under_an_images_name_reaches_no_other_program(folder, monkeypatch):
    """PIL hands PostScript to Ghostscript, whatever the file is called."""
    monkeypatch.setattr(EpsImagePlugin, "Ghostscript", lambda *_, **__: pytest.fail("another program was asked"))
    page = "%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n%%EOF\n"
    (folder / "n01" / "z.png").write_text(page)
    with pytest.raises(DataError, match=r"z\.png is damaged or no image"):
        image_folder(folder, 8).batch([0])


def test_classes_and_files_come_in_sorted_order(folder):
    dataset = image_folder(folder, 8)
    assert dataset.class_names == ["n01", "n02", "n10"]
    files = [file.relative_to(folder).as_posix() for file in dataset.files]
    assert files == ["n01/z.png", "n02/a.png", "n02/b.JPEG", "n10/c.png", "n10/deep/er.jpg"]
    assert dataset.labels.tolist() == [0, 1, 1, 2, 2] and dataset.labels.dtype == torch.int64
    images, labels = dataset.batch([4, 0])
    assert images.shape == (2, 3, 8, 8) and images.dtype == torch.float32 and labels.tolist() == [2, 0]
    assert -1 <= images.min() < images.max() <= 1


@pytest.mark.parametrize(("width", "height"), [(20, 12), (12, 20), (5, 9), (8, 8)])
@pytest.mark.parametrize("channels", [1, 3])
def test_resize_and_crop_against_pil_by_hand(tmp_path, width, height, channels):
    """Shorter side to 8 pixels, the longer in proportion (rounded down), then the middle 8 x 8."""
    save(tmp_path / "class" / "image.png", size=(width, height))
    wide, high = (8 * width // min(width, height), 8 * height // min(width, height))
    left, top = round((wide - 8) / 2), round((high - 8) / 2)
    with Image.open(tmp_path / "class" / "image.png") as image:
        resized = image.convert("L" if channels == 1 else "RGB").resize((wide, high), Image.Resampling.BICUBIC)
    expected = np.asarray(resized.crop((left, top, left + 8, top + 8))).reshape(8, 8, channels)
    image, _ = image_folder(tmp_path, 8, channels)[0]
    assert image.shape == (channels, 8, 8)
    np.testing.assert_allclose(image.permute(1, 2, 0).numpy(), expected / 127.5 - 1, atol=1e-6)


def resampled(values: np.ndarray, size: int, kernel, support: float) -> np.ndarray:
    """Along the first axis by a kernel as wide as the reduction, in float64, rounded to grey levels as PIL does."""
    scale = len(values) / size
    found = np.empty((size, *values.shape[1:]))
    for place in range(size):
        centre, reach = (place + 0.5) * scale, support * max(scale, 1)
        near = np.arange(max(0, int(centre - reach + 0.5)), min(len(values), int(centre + reach + 0.5)))
        weights = kernel((near + 0.5 - centre) / max(scale, 1))
        found[place] = np.tensordot(weights / weights.sum(), values[near], 1)
    return np.clip(np.floor(found + 0.5), 0, 255)


def cubic(x: np.ndarray) -> np.ndarray:
    """Keys' kernel with a = -1/2."""
    x = abs(x)
    return np.where(x < 1, 1.5 * x**3 - 2.5 * x**2 + 1, np.where(x < 2, -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2, 0))


def box(x: np.ndarray) -> np.ndarray:
    return ((x > -0.5) & (x <= 0.5)).astype(float)


@pytest.mark.parametrize(("width", "height"), [(37, 35), (70, 33), (16, 40), (13, 8), (8, 8), (5, 9), (64, 64)])
def test_adm_halves_then_resizes_then_crops(tmp_path, width, height):
    """Against resampling by hand, whose rounding may differ by one grey level a step."""
    save(tmp_path / "class" / "image.png", size=(width, height))
    pixels = np.asarray(Image.open(tmp_path / "class" / "image.png")).astype(float)  # rows, columns, channels
    halvings = 0
    while min(pixels.shape[:2]) >= 16:
        rows, columns = (side // 2 for side in pixels.shape[:2])
        pixels = resampled(pixels.swapaxes(0, 1), columns, box, 0.5).swapaxes(0, 1)
        pixels, halvings = resampled(pixels, rows, box, 0.5), halvings + 1
    rows, columns = (round(side * (8 / min(pixels.shape[:2]))) for side in pixels.shape[:2])
    pixels = resampled(pixels.swapaxes(0, 1), columns, cubic, 2).swapaxes(0, 1)
    pixels = resampled(pixels, rows, cubic, 2)
    top, left = (rows - 8) // 2, (columns - 8) // 2
    expected = pixels[top : top + 8, left : left + 8]
    image = (ImageFolder(tmp_path, 8, resize="adm")[0][0].permute(1, 2, 0).numpy() + 1) * 127.5
    np.testing.assert_allclose(image, expected, atol=1.01)
    assert np.mean(np.abs(image - expected) > 0.01) < 0.25, f"{halvings} halvings"


def test_adm_is_another_image_than_one_step_of_resizing(tmp_path):
    save(tmp_path / "class" / "image.png", size=(70, 33))
    images = [ImageFolder(tmp_path, 8, resize=resize)[0][0] for resize in ("antialiased", "adm")]
    assert (images[0] - images[1]).abs().max() > 0.05
    with pytest.raises(DataError, match=r"resize is 'bilinear'; an image folder has antialiased, adm"):
        ImageFolder(tmp_path, 8, resize="bilinear")


def test_fine_stripes_shrink_to_grey(tmp_path):
    """Without antialiasing they would alias to black or white."""
    (tmp_path / "class").mkdir()
    stripes = np.tile(np.array([0, 255], dtype=np.uint8), (64, 32))
    Image.fromarray(stripes).save(tmp_path / "class" / "stripes.png")
    assert image_folder(tmp_path, 8, 1)[0][0][:, :, 2:-2].abs().max() < 0.05


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "1", "CMYK"])
def test_every_8_bit_mode_becomes_rgb(tmp_path, mode):
    (tmp_path / "class").mkdir()
    Image.new("RGB", (9, 9), (255, 255, 255)).convert(mode).save(tmp_path / "class" / "white.tif")
    assert torch.equal(image_folder(tmp_path, 4)[0][0], torch.ones(3, 4, 4))


def test_linked_folders_are_followed(folder, tmp_path):
    (tmp_path / "links" / "n01").mkdir(parents=True)
    (tmp_path / "links" / "n01" / "inside").symlink_to(folder / "n01")
    (tmp_path / "links" / "n02").symlink_to(folder / "n02")
    assert image_folder(tmp_path / "links", 8).labels.tolist() == [0, 1, 1]


def test_the_fingerprint_follows_content_and_size_but_not_the_place(folder, tmp_path):
    reference = image_folder(folder, 8).fingerprint
    assert image_folder(folder, 16).fingerprint != reference
    moved = shutil.copytree(folder, tmp_path / "elsewhere")
    assert image_folder(moved, 8).fingerprint == reference
    save(moved / "n01" / "z.png", seed=99)
    assert image_folder(moved, 8).fingerprint != reference


def test_a_subset_decodes_and_verifies_its_own_files_only(folder):
    dataset = image_folder(folder, 8)
    chosen = subset(dataset, 2, seed=0)
    left_out = (set(range(5)) - set(chosen.indices.tolist())).pop()
    dataset.files[left_out].write_bytes(b"rotten")
    chosen.verify()
    assert chosen.batch([0, 1])[0].shape == (2, 3, 8, 8)
    with pytest.raises(DataError, match="1 of 5 images"):
        dataset.verify()


def truncate(path) -> None:
    """Leave the header whole, so that only reading to the end can tell."""
    path.write_bytes(path.read_bytes()[:-100])
    with Image.open(path) as image:
        assert image.size == (20, 12)


def flip_a_bit(path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def replace_by_text(path) -> None:
    path.write_text("this is no image")


def blank(path) -> None:
    path.write_bytes(b"")


@pytest.mark.parametrize(
    ("file", "damage"),
    [("a.png", truncate), ("b.JPEG", truncate), ("a.png", flip_a_bit), ("b.JPEG", replace_by_text), ("a.png", blank)],
)
def test_verify_names_the_damaged_file(folder, file, damage):
    path = folder / "n02" / file
    damage(path)
    with pytest.raises(DataError, match=rf"1 of 5 images in {folder} cannot be used:\n  {path} is damaged"):
        image_folder(folder, 8).verify()


def test_verify_passes_a_sound_folder_and_shortens_a_long_list(folder):
    image_folder(folder, 8).verify()
    for number in range(7):
        (folder / "n01" / f"bad{number}.png").write_bytes(b"rotten")
    with pytest.raises(DataError) as caught:
        image_folder(folder, 8).verify()
    assert "7 of 12 images" in str(caught.value) and len(str(caught.value).splitlines()) == 1 + 5


def test_a_damaged_image_is_named_when_it_is_decoded(folder):
    truncate(folder / "n02" / "b.JPEG")
    with pytest.raises(DataError, match=r"n02/b\.JPEG is damaged"):
        image_folder(folder, 8).batch([2])


def test_deep_images_are_refused_rather_than_clipped(tmp_path):
    (tmp_path / "class").mkdir()
    Image.fromarray(np.full((9, 9), 40_000, dtype=np.uint16)).save(tmp_path / "class" / "deep.png")
    dataset = image_folder(tmp_path, 8)
    for action in (dataset.verify, lambda: dataset[0]):
        with pytest.raises(DataError, match=r"deep\.png has more than 8 bits per channel"):
            action()


def empty(root) -> None:
    root.mkdir()


def flat(root) -> None:
    save(root / "image.png")


def hollow_class(root) -> None:
    save(root / "full" / "image.png")
    (root / "hollow").mkdir()


@pytest.mark.parametrize(
    ("make", "options", "message"),
    [
        (None, {}, "does not exist. Correct data.root"),
        (empty, {}, "is empty"),
        (flat, {}, "1 files but no class sub-folders. Use root/class/image"),
        (hollow_class, {}, "class folder .*hollow has no images"),
        (flat, {"image_size": 0}, "image_size is 0"),
        (flat, {"image_size": "64"}, "image_size is '64'"),
        (flat, {"channels": 2}, "channels is 2"),
    ],
)
def test_folders_that_cannot_work(tmp_path, make, options, message):
    if make is not None:
        make(tmp_path / "root")
    with pytest.raises(DataError, match=message):
        image_folder(tmp_path / "root", **{"image_size": 8, **options})


@pytest.mark.parametrize("place", ["n01/caf\udce9.png", "caf\udce9/z.png"])
def test_a_name_that_is_not_utf_8_is_refused_at_once(folder, place):
    save(folder / place)
    with pytest.raises(DataError, match=r"the name of image .*caf\\xe9.* is not UTF-8\. Rename it"):
        image_folder(folder, 8)


def test_hidden_folders_inside_a_class_are_passed_over(folder):
    """Jupyter's and a file manager's copies are no further images."""
    for place in ("n01/.ipynb_checkpoints/z-checkpoint.png", "n10/deep/.thumbnails/large/er.png"):
        save(folder / place)
    assert image_folder(folder, 8).labels.tolist() == [0, 1, 1, 2, 2]


def sixteen_bits(path, name: str) -> None:
    """A colour image of 16 bits a channel, written byte by byte: PIL can read such, but not write them."""
    pixels = np.full((9, 9, 3), 40_001, dtype=">u2")
    path.parent.mkdir(parents=True, exist_ok=True)
    if name == "ppm":
        path.write_bytes(b"P6 9 9 65535\n" + pixels.tobytes())
    else:
        path.write_bytes(png_of(pixels))


def png_of(pixels: np.ndarray) -> bytes:
    """A PNG by its specification (W3C, PNG third edition, sections 5 and 11): bit depth 16, colour type 2."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    height, width, _ = pixels.shape
    rows = b"".join(b"\0" + row.tobytes() for row in pixels)
    header = struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


@pytest.mark.parametrize("name", ["png", "ppm"])
def test_colour_images_of_16_bits_are_refused_rather_than_cut_to_8(tmp_path, name):
    sixteen_bits(tmp_path / "class" / f"deep.{name}", name)
    with Image.open(tmp_path / "class" / f"deep.{name}") as image:
        assert image.mode == "RGB", "PIL's mode does not tell"
    dataset = image_folder(tmp_path, 8)
    for action in (dataset.verify, lambda: dataset[0]):
        with pytest.raises(DataError, match=rf"deep\.{name} has more than 8 bits per channel \(RGB"):
            action()


def test_an_exif_orientation_turns_nothing(tmp_path):
    """The decision: pixels as they are stored, as torchvision's ImageFolder reads them."""
    pixels = np.arange(64, dtype=np.uint8).reshape(8, 8) * 4
    orientation = Image.Exif()
    orientation[0x0112] = 6  # to be shown a quarter turn further
    (tmp_path / "class").mkdir()
    Image.fromarray(pixels).save(tmp_path / "class" / "turned.png", exif=orientation)
    theirs, _ = TorchvisionFolder(tmp_path)[0]
    found, _ = image_folder(tmp_path, 8, 1)[0]
    np.testing.assert_array_equal(np.asarray(theirs)[:, :, 0], pixels)
    np.testing.assert_allclose(found[0].numpy(), pixels / 127.5 - 1, atol=1e-6)


def divided(root, **classes) -> None:
    for split, names in classes.items():
        for seed, name in enumerate(names):
            save(root / split / name / "image.png", seed=seed)


def test_labels_of_the_test_set_are_those_of_the_training_folders(tmp_path):
    """A test set that lacks the class `b` has `c` as class 2 all the same."""
    divided(tmp_path, train="abc", test="ac")
    training, test = (image_folder(tmp_path, 8, split=split) for split in ("train", "test"))
    assert test.class_names == training.class_names == ["a", "b", "c"]
    assert test.labels.tolist() == [0, 2]
    assert [file.parent.name for file in test.files] == ["a", "c"]


def test_test_folders_of_other_names_are_refused(tmp_path):
    divided(tmp_path, train="abc", val=["a", "b", "sea"])
    with pytest.raises(DataError, match=r"val has class folders that the training set lacks: sea; it has a, b, c"):
        image_folder(tmp_path, 8, split="test")


def test_a_test_set_alone_keeps_its_own_names(tmp_path):
    divided(tmp_path, test="ac")
    assert image_folder(tmp_path, 8, split="test").class_names == ["a", "c"]
