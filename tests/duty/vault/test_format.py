"""The form of sealed content and the keys: whatever is done to either, nothing opens that was not put there so."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from duty.vault import files
from duty.vault.errors import NoMasterKey, NotAuthentic
from duty.vault.files import OpenedFile, in_memory, restore_file, seal_file, sealed_path, wipe
from duty.vault.format import (
    CHUNK_BYTES,
    HEAD_BYTES,
    TAG_BYTES,
    ChunkCipher,
    Head,
    SealedBytes,
    context_of,
    new_head,
    read_head,
    seal_bytes,
)
from duty.vault.keyfile import MasterKeys, create_ring, read_ring, replace_ring
from duty.vault.keys import KeyRing, WrappedKey, new_data_key, new_master_key, parse_ring

CALL = "0123456789abcdef0123456789abcdef"
KEY = bytes(range(32))
HERE = context_of(CALL, "recording.wav")


@pytest.mark.rule("6.5-a")
@given(plain=st.binary(max_size=300))
def test_what_is_sealed_opens_again_and_shows_nothing(plain: bytes) -> None:
    sealed = seal_bytes(KEY, HERE, plain)
    assert len(sealed) == HEAD_BYTES + len(plain) + TAG_BYTES
    assert SealedBytes(sealed).open(KEY, HERE) == plain
    assert len(plain) < 8 or plain not in sealed[HEAD_BYTES:]
    assert seal_bytes(KEY, HERE, plain) != sealed, "a new salt, hence a new key"


@pytest.mark.rule("6.5-a")
@given(plain=st.binary(min_size=1, max_size=200), data=st.data())
def test_no_bit_of_it_can_be_altered(plain: bytes, data: st.DataObject) -> None:
    sealed = bytearray(seal_bytes(KEY, HERE, plain))
    at = data.draw(st.integers(0, len(sealed) * 8 - 1))
    sealed[at // 8] ^= 1 << at % 8
    with pytest.raises(NotAuthentic):
        SealedBytes(bytes(sealed)).open(KEY, HERE)


@given(st.binary(max_size=200))
def test_garbage_raises_one_error(garbage: bytes) -> None:
    with pytest.raises(NotAuthentic):
        SealedBytes(garbage).open(KEY, HERE)


def small(plain_bytes: int) -> Head:
    """Three chunks want no 200 kB in a test."""
    return Head(plain_bytes=plain_bytes, salt=b"s" * 32, chunk_bytes=4)


def test_no_chunk_can_be_moved_left_out_repeated_or_brought_from_elsewhere() -> None:
    cipher = ChunkCipher(KEY, small(12), HERE)
    chunks = [cipher.seal(number, text) for number, text in enumerate((b"aaaa", b"aaaa", b"aaaa"))]
    assert len(set(chunks)) == 3
    assert [cipher.open(number, chunk) for number, chunk in enumerate(chunks)] == [b"aaaa"] * 3
    for number, chunk in ((0, chunks[1]), (1, chunks[0]), (2, chunks[1]), (3, chunks[2])):
        with pytest.raises(NotAuthentic):
            cipher.open(number, chunk)
    cut = ChunkCipher(KEY, small(8), HERE)
    with pytest.raises(NotAuthentic):
        cut.open(1, chunks[1])
    for other in (
        ChunkCipher(KEY, small(12), context_of(CALL, "peaks.json")),
        ChunkCipher(KEY, small(12), context_of("f" * 32, "recording.wav")),
        ChunkCipher(bytes(32), small(12), HERE),
        ChunkCipher(KEY, Head(plain_bytes=12, salt=b"t" * 32, chunk_bytes=4), HERE),
    ):
        with pytest.raises(NotAuthentic):
            other.open(0, chunks[0])


def test_a_context_cannot_be_read_in_two_ways() -> None:
    assert context_of("ab", "c") != context_of("a", "bc")
    with pytest.raises(ValueError, match="NUL"):
        context_of("a\0b", "c")


@pytest.mark.parametrize(
    "head", [b"", b"DLVAULT1", b"DLVAULT2" + bytes(44), Head(plain_bytes=1, salt=bytes(32), chunk_bytes=0).packed()]
)
def test_a_head_that_is_none(head: bytes) -> None:
    with pytest.raises(NotAuthentic):
        read_head(head)
    assert read_head(new_head(7).packed()).plain_bytes == 7


@pytest.mark.rule("6.5-a")
@pytest.mark.parametrize("size", [0, 1, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, 3 * CHUNK_BYTES + 77])
def test_a_file_is_sealed_proven_and_opened_at_any_place(tmp_path: Path, size: int) -> None:
    plain = os.urandom(size)
    (tmp_path / "recording.wav").write_bytes(plain)
    made = seal_file(tmp_path, "recording.wav", call_id=CALL, data_key=KEY)
    path = sealed_path(tmp_path, "recording.wav")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert (made.plain_bytes, made.sealed_bytes) == (size, path.stat().st_size)
    assert files.prove_file(path, "recording.wav", data_key=KEY, context=HERE) == made
    opened = OpenedFile(path, data_key=KEY, context=HERE)
    assert (opened.size, opened.read()) == (size, plain)
    for start, end in ((0, 1), (size // 2, size), (CHUNK_BYTES - 3, CHUNK_BYTES + 3), (size, size), (7, 7)):
        assert b"".join(opened.pieces(start, end)) == plain[start:end]
    with in_memory(opened) as at:
        assert at.read_bytes() == plain
    (tmp_path / "recording.wav").unlink()
    restore_file(tmp_path, made, call_id=CALL, data_key=KEY)
    assert (tmp_path / "recording.wav").read_bytes() == plain
    assert sorted(found.name for found in tmp_path.iterdir()) == ["recording.wav", "recording.wav.sealed"]


@pytest.mark.parametrize("kept", [1, HEAD_BYTES, HEAD_BYTES + CHUNK_BYTES + TAG_BYTES, -1])
def test_a_file_that_was_cut_does_not_open(tmp_path: Path, kept: int) -> None:
    (tmp_path / "a").write_bytes(os.urandom(2 * CHUNK_BYTES))
    seal_file(tmp_path, "a", call_id=CALL, data_key=KEY)
    path = sealed_path(tmp_path, "a")
    os.truncate(path, kept if kept >= 0 else path.stat().st_size + kept)
    with pytest.raises(NotAuthentic):
        OpenedFile(path, data_key=KEY, context=context_of(CALL, "a"))


def test_a_wiped_file_is_gone_and_may_be_wiped_again(tmp_path: Path) -> None:
    path, other = tmp_path / "a", tmp_path / "b"
    path.write_bytes(b"x" * (CHUNK_BYTES + 5))
    os.link(path, other)
    wipe(path)
    wipe(path)
    assert not path.exists()
    assert other.read_bytes() == bytes(CHUNK_BYTES + 5), "where it lay there is nothing of it"


@pytest.mark.rule("6.5-a")
def test_a_data_key_opens_for_its_call_under_its_master_key_only() -> None:
    ring, data_key = KeyRing(keys=(new_master_key(),)), new_data_key()
    wrapped = ring.wrap(CALL, data_key)
    assert data_key not in wrapped.blob
    assert ring.unwrap(CALL, wrapped) == data_key
    with pytest.raises(NotAuthentic):
        ring.unwrap("f" * 32, wrapped)
    with pytest.raises(NoMasterKey, match="vault_key_unknown"):
        KeyRing(keys=(new_master_key(),)).unwrap(CALL, wrapped)
    stranger = KeyRing(keys=(new_master_key(),))
    with pytest.raises(NotAuthentic):
        stranger.unwrap(CALL, WrappedKey(key_id=stranger.current.key_id, blob=wrapped.blob))
    rotated = ring.rotated()
    assert rotated.current != ring.current
    assert rotated.unwrap(CALL, wrapped) == data_key
    again = rotated.wrap(CALL, data_key)
    assert rotated.only_current().unwrap(CALL, again) == data_key


@pytest.mark.rule("6.5-a")
def test_the_key_file_is_for_the_service_alone(tmp_path: Path) -> None:
    path = tmp_path / "keys" / "master.key"
    ring = KeyRing(keys=(new_master_key(),)).rotated()
    create_ring(path, ring)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert read_ring(path) == ring
    assert ring.current.secret.hex() not in repr(ring)
    with pytest.raises(FileExistsError):
        create_ring(path, ring)
    path.chmod(0o640)
    with pytest.raises(NoMasterKey, match="vault_key_file_open"):
        MasterKeys(path).ring()
    replace_ring(path, ring.only_current())
    assert MasterKeys(path).problem() is None
    assert read_ring(path).keys == ring.keys[:1]
    assert MasterKeys(None).problem() == "vault_no_key"
    assert MasterKeys(tmp_path / "none").problem() == "vault_key_file_unreadable"
    assert MasterKeys(tmp_path).problem() == "vault_key_file_unreadable"
    for number, damaged in enumerate(
        ("", "dutyline-master-key-1 x y", ring.text().replace(ring.current.key_id, "0" * 16))
    ):
        other = tmp_path / f"damaged{number}"
        other.touch(0o600)
        other.write_text(damaged, "utf-8")
        assert MasterKeys(other).problem() == "vault_key_file_damaged"


@given(st.text(max_size=200))
def test_a_key_file_of_garbage_raises_one_error(text: str) -> None:
    with pytest.raises(NoMasterKey):
        parse_ring(text)
