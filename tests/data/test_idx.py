"""The idx format against bytes written by hand."""

import gzip

import pytest

from genuq.data.idx import parse_idx, read_plain_or_gzip
from genuq.data.routes import AbsentError
from genuq.errors import DataError

# two images of 2 x 3: zeros, unsigned bytes, three dimensions; sizes 2, 2, 3, most significant byte first
HEADER = bytes([0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 2, 0, 0, 0, 3])
CONTENT = HEADER + bytes([1, 2, 3, 4, 5, 6, 250, 251, 252, 253, 254, 255])


def test_images_written_by_hand():
    assert parse_idx(CONTENT, "images").tolist() == [[[1, 2, 3], [4, 5, 6]], [[250, 251, 252], [253, 254, 255]]]


def test_labels_longer_than_a_byte_can_count():
    assert parse_idx(bytes([0, 0, 8, 1, 0, 0, 1, 44]) + bytes(300), "labels").shape == (300,)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\x89PNG\r\n", "not an idx file"),
        (b"\0\0", "not an idx file"),
        (b"\0\0\x0d\1\0\0\0\0", "idx type 0x0d"),
        (HEADER[:9], "truncated inside its header of 16 bytes"),
        (CONTENT[:-1], "has 27 bytes; its header .* asks for 28"),
        (CONTENT + b"\0", "has 29 bytes; its header .* asks for 28"),
    ],
)
def test_what_is_not_whole_idx_is_refused_by_name(content, message):
    with pytest.raises(DataError, match=f"some-file .*{message}"):
        parse_idx(content, "some-file")


def test_plain_and_compressed_files_read_the_same(tmp_path):
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / "images.gz").write_bytes(gzip.compress(CONTENT))
    (tmp_path / "labels").write_bytes(CONTENT)
    assert read_plain_or_gzip(tmp_path, "images", ("", "raw")) == CONTENT
    assert read_plain_or_gzip(tmp_path, "labels", ("", "raw")) == CONTENT


def test_a_file_that_is_nowhere_is_told_from_a_damaged_one(tmp_path):
    with pytest.raises(AbsentError, match=r"images, raw/images \(plain or \.gz\)"):
        read_plain_or_gzip(tmp_path, "images", ("", "raw"))
    for damaged in (gzip.compress(CONTENT)[:-9], CONTENT):
        (tmp_path / "images.gz").write_bytes(damaged)
        with pytest.raises(DataError, match=r"images\.gz is truncated or not gzip") as caught:
            read_plain_or_gzip(tmp_path, "images", ("",))
        assert not isinstance(caught.value, AbsentError)
