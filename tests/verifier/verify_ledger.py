#!/usr/bin/env python3
"""Verifies a Lotline ledger without any of Lotline's code, from schemas/ledger-format.md alone.

    python3 verify_ledger.py DIR [--json]

Reads every file of the ledger folder DIR that the format names and prints counts, the hash of the
last commit and the tree's root, or the first damage: file, offset, commit, position and reason.
Nobody may be writing to the ledger meanwhile (stop the writer, or verify a copy). Nothing is written.

Exit code: 0 everything is as it must be, 1 damage, 2 wrong use or a file that cannot be read.

Damage is looked for in this order: segments from the first commit on, `head`, `keyring`, key indexes.
`mend` in the answer names damage that the next writer repairs by itself (a torn tail, a head slot
beside a valid one, a key index). A sealed segment without an index is no damage, it is noted.

Python 3.9 or later, standard library only; the package `blake3` makes it faster where it is installed.
What it cannot see: an older but complete copy of the whole folder. Compare the printed commit and root
with ones that were kept elsewhere.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import mmap
import os
import re
import struct
import sys
import zlib
from typing import Any, NamedTuple, Optional

try:
    from blake3 import blake3 as _blake3

    def derive_key(context: str, material: bytes) -> bytes:
        return _blake3(material, derive_key_context=context).digest()

except ImportError:
    from blake3_pure import derive_key

VERSION = 1
NONE = -(2**63)  # the time that is no time
LIMIT_63 = 2**63
ZERO_32 = bytes(32)

SEGMENT_HEADER = struct.Struct(">8sI16sQQqQ32sI")
FRAME_HEAD = struct.Struct(">4sII")
COMMIT_HEADER = struct.Struct(">I16sQQIQq32s")
SLOT = struct.Struct(">8sI16sQQqQ32sQQQ")
INDEX_HEADER = struct.Struct(">8sI16sQQQ32sIIII")
INDEX_COMMIT = struct.Struct(">IIq")
INDEX_KEY = struct.Struct(">16sI")
KEYRING_HEAD = struct.Struct(">8sI16sI")
KEY_RECORD = struct.Struct(">16sIq32s")
LEAF = struct.Struct(">Qq32s")
U16 = struct.Struct(">H")
U32 = struct.Struct(">I")

HEADER_LEN = 96
FRAME_HEAD_LEN = 12
ENTRIES_AT = 100
FRAME_MIN = 122
FRAME_MAX = 900_000
EVENTS_MAX = 4096
KEYS_MAX = 4096
EVENT_MIN = 18
KEY_LEN = 16
SEGMENT_MAX = 0xFFFFFFFF
SLOT_LEN = 512
SLOTS = 3
PAGE = 4096
COMMITS_PER_PAGE = 255
KEYS_PER_PAGE = 204

assert SEGMENT_HEADER.size == HEADER_LEN
assert FRAME_HEAD.size + COMMIT_HEADER.size == ENTRIES_AT
assert SLOT.size == 116
assert ENTRIES_AT + 4 + EVENT_MIN == FRAME_MIN

SEGMENT_NAME = re.compile(r"segment-([0-9]{20})\.ledger\Z")
INDEX_NAME = re.compile(r"segment-([0-9]{20})\.index\Z")


def segment_name(number: int) -> str:
    return "segment-%020d.ledger" % number


def index_name(number: int) -> str:
    return "segment-%020d.index" % number


class Damage(Exception):
    """The first place that is not as the format demands.

    `commit` and `position` are those that should stand at the place; None outside of the segments.
    """

    def __init__(
        self,
        file: str,
        offset: int,
        reason: str,
        commit: Optional[int] = None,
        position: Optional[int] = None,
        mend: Optional[str] = None,
    ) -> None:
        super().__init__(reason)
        self.file = file
        self.offset = offset
        self.reason = reason
        self.commit = commit
        self.position = position
        self.mend = mend
        # Where the frame starts in which the damage is, set by who knows.
        self.frame = offset

    def as_dict(self) -> dict[str, Any]:
        return {
            "file": self.file,
            "offset": self.offset,
            "commit": self.commit,
            "position": self.position,
            "reason": self.reason,
            "mend": self.mend,
        }


class Chain(NamedTuple):
    """What is known after a commit; `tree` holds roots of complete subtrees, the largest first."""

    ledger_id: Optional[bytes]
    commit: int
    next_position: int
    recorded_at: int
    epoch: int
    hash: bytes
    pairs: int
    tree: tuple[bytes, ...]


START = Chain(None, 0, 0, NONE, 0, ZERO_32, 0, ())


class Slot(NamedTuple):
    """What a head slot says of a commit, or what the chain says of it."""

    commit: int
    next_position: int
    recorded_at: int
    epoch: int
    hash: bytes
    segment: int
    start: int
    end: int


NOTHING_RECORDED = Slot(0, 0, NONE, 0, ZERO_32, 1, HEADER_LEN, HEADER_LEN)
SLOT_OFFSETS = dict(zip(Slot._fields, (28, 36, 44, 52, 60, 92, 100, 108)))


class Segment(NamedTuple):
    """A segment that was read to its end. `commits` and `pairs` are filled for the key index only."""

    chain: Chain
    end: int
    named: dict[int, Slot]
    commits: tuple[tuple[int, int, int], ...]
    pairs: tuple[tuple[bytes, int], ...]


# Hashes and tree


def event_hash(event: bytes) -> bytes:
    return derive_key("lotline 2026 event v1", event)


def commit_hash(material: bytes) -> bytes:
    return derive_key("lotline 2026 commit v1", material)


def leaf_hash(position: int, recorded_at: int, hash_of_event: bytes) -> bytes:
    return hashlib.sha256(b"\0" + LEAF.pack(position, recorded_at, hash_of_event)).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\1" + left + right).digest()


def add_leaf(tree: list[bytes], count: int, leaf: bytes) -> None:
    """Adds leaf number `count` (from 0); subtrees of equal size join, as in a binary count."""
    while count & 1:
        leaf = node_hash(tree.pop(), leaf)
        count >>= 1
    tree.append(leaf)


def tree_root(tree: tuple[bytes, ...]) -> bytes:
    if not tree:
        return hashlib.sha256(b"").digest()
    root = tree[-1]
    for left in tree[-2::-1]:
        root = node_hash(left, root)
    return root


# Segments


def check_version(version: int, file: str, offset: int, **place: Optional[int]) -> None:
    if version != VERSION:
        reason = "format version %d is unknown, this program knows version %d" % (version, VERSION)
        raise Damage(file, offset, reason, **place)


def first_nonzero(data: Any, start: int) -> Optional[int]:
    """Offset of the first byte at or after `start` that is not zero."""
    step = 1 << 20
    for at in range(start, len(data), step):
        part = data[at : at + step]
        if part.count(0) != len(part):
            return at + len(part) - len(part.lstrip(b"\0"))
    return None


def check_segment_header(name: str, number: int, data: Any, before: Chain) -> bytes:
    """Checks a segment's header against the chain before it; returns the ledger's id."""
    expected = {"commit": before.commit + 1, "position": before.next_position}

    def damage(offset: int, reason: str) -> Damage:
        return Damage(name, offset, reason, **expected)

    if len(data) > SEGMENT_MAX:
        raise damage(SEGMENT_MAX, "the segment is longer than %d bytes" % SEGMENT_MAX)
    if len(data) < HEADER_LEN:
        raise damage(len(data), "the file ends within the segment header")
    header = data[:HEADER_LEN]
    magic, version, ledger_id, first, position, recorded_at, epoch, previous, crc = SEGMENT_HEADER.unpack(header)
    if magic != b"LOTLSEG1":
        raise damage(0, "wrong magic of a segment")
    if crc != zlib.crc32(header[:92]):
        raise damage(92, "wrong checksum of the segment header")
    check_version(version, name, 8, **expected)
    if before.ledger_id is not None and ledger_id != before.ledger_id:
        raise damage(12, "another ledger id: %s, not %s" % (ledger_id.hex(), before.ledger_id.hex()))
    if first != number:
        raise damage(28, "the header names first commit %d, the file's name %d" % (first, number))
    for offset, what, has, must in (
        (28, "first commit", first, before.commit + 1),
        (36, "first position", position, before.next_position),
        (44, "recorded_at of the commit before", recorded_at, before.recorded_at),
        (52, "epoch of the commit before", epoch, before.epoch),
        (60, "hash of the commit before", previous.hex(), before.hash.hex()),
    ):
        if has != must:
            raise damage(offset, "the segment does not continue the chain: %s is %s, not %s" % (what, has, must))
    return ledger_id


def frame_at(data: Any, at: int) -> Optional[bytes]:
    """The bytes of a frame with right magic, length and checksum, if one starts there."""
    head = data[at : at + FRAME_HEAD_LEN]
    if len(head) < FRAME_HEAD_LEN:
        return None
    magic, crc, length = FRAME_HEAD.unpack(head)
    if magic != b"LTF1" or not FRAME_MIN <= length <= min(FRAME_MAX, len(data) - at):
        return None
    frame = data[at : at + length]
    return frame if zlib.crc32(frame[8:]) == crc else None


def read_frame(name: str, data: Any, at: int, chain: Chain) -> bytes:
    """The whole frame at an offset, its first twelve bytes checked; damage if there is none."""

    def damage(offset: int, reason: str) -> Damage:
        return Damage(name, at + offset, reason, chain.commit + 1, chain.next_position)

    left = len(data) - at
    if left < FRAME_HEAD_LEN:
        raise damage(0, "%d bytes are left, too few for a frame" % left)
    magic, crc, length = FRAME_HEAD.unpack(data[at : at + FRAME_HEAD_LEN])
    if magic != b"LTF1":
        raise damage(0, "wrong magic of a frame")
    if not FRAME_MIN <= length <= FRAME_MAX:
        raise damage(8, "frame length %d is not in %d..=%d" % (length, FRAME_MIN, FRAME_MAX))
    if length > left:
        raise damage(8, "frame length %d, but the file ends after %d bytes" % (length, left))
    frame = data[at : at + length]
    if zlib.crc32(frame[8:]) != crc:
        raise damage(4, "wrong checksum of a frame")
    return frame


def check_commit_header(name: str, at: int, frame: bytes, ledger_id: bytes, chain: Chain) -> tuple[int, int, int]:
    """Checks a commit's header against the chain; returns event count, epoch and recorded_at."""
    place = {"commit": chain.commit + 1, "position": chain.next_position}

    def damage(offset: int, reason: str) -> Damage:
        return Damage(name, at + FRAME_HEAD_LEN + offset, reason, **place)

    header = COMMIT_HEADER.unpack_from(frame, FRAME_HEAD_LEN)
    version, commit_ledger, number, first, count, epoch, recorded_at, previous = header
    check_version(version, name, at + FRAME_HEAD_LEN, **place)
    if commit_ledger != ledger_id:
        raise damage(4, "another ledger id: %s, not %s" % (commit_ledger.hex(), ledger_id.hex()))
    if number >= LIMIT_63:
        raise damage(20, "commit number %d is beyond its limit" % number)
    if number != chain.commit + 1:
        raise damage(20, "commit number is %d, not %d" % (number, chain.commit + 1))
    if first != chain.next_position:
        raise damage(28, "first position is %d, not %d" % (first, chain.next_position))
    if not 1 <= count <= EVENTS_MAX:
        raise damage(36, "event count %d is not in 1..=%d" % (count, EVENTS_MAX))
    if first + count > LIMIT_63:
        raise damage(28, "positions from %d on are beyond their limit" % first)
    if epoch == 0:
        raise damage(40, "epoch 0")
    if epoch < chain.epoch:
        raise damage(40, "epoch %d after epoch %d" % (epoch, chain.epoch))
    if recorded_at == NONE:
        raise damage(48, 'recorded_at is "none"')
    if chain.commit > 0 and recorded_at <= chain.recorded_at:
        raise damage(48, "recorded_at %d does not follow %d" % (recorded_at, chain.recorded_at))
    if previous != chain.hash:
        raise damage(56, "previous commit hash is %s, not %s" % (previous.hex(), chain.hash.hex()))
    return count, epoch, recorded_at


def read_event(name: str, frame: bytes, frame_at_offset: int, at: int, commit: int, position: int) -> tuple[int, list[bytes]]:
    """Checks the event entry at an offset of a frame; returns the offset after it and its keys."""

    def damage(offset: int, reason: str) -> Damage:
        return Damage(name, frame_at_offset + offset, reason, commit, position)

    if at + 4 > len(frame):
        raise damage(at, "the frame ends before its last event")
    (length,) = U32.unpack_from(frame, at)
    end = at + 4 + length
    if end > len(frame):
        raise damage(at, "an event of %d bytes runs beyond its frame" % length)
    if length < EVENT_MIN:
        raise damage(at, "an event of %d bytes, fewer than %d" % (length, EVENT_MIN))
    (count,) = U16.unpack_from(frame, at + 4)
    if not 1 <= count <= KEYS_MAX:
        raise damage(at + 4, "key count %d is not in 1..=%d" % (count, KEYS_MAX))
    keys_at = at + 6
    if keys_at + KEY_LEN * count > end:
        raise damage(at + 4, "%d keys are more than the event's %d bytes hold" % (count, length))
    keys = [frame[k : k + KEY_LEN] for k in range(keys_at, keys_at + KEY_LEN * count, KEY_LEN)]
    for i in range(1, count):
        if keys[i - 1] >= keys[i]:
            raise damage(keys_at + KEY_LEN * i, "keys are not strictly ascending")
    return end, keys


def walk_segment(
    name: str,
    number: int,
    data: Any,
    before: Chain,
    is_open: bool,
    wanted: frozenset[int],
    for_index: bool,
) -> Segment:
    """Checks a whole segment; gives the chain after it and what it knows of the `wanted` commits."""
    ledger_id = check_segment_header(name, number, data, before)
    chain = before._replace(ledger_id=ledger_id)
    tree = list(before.tree)
    named: dict[int, Slot] = {}
    commits: list[tuple[int, int, int]] = []
    pairs: list[tuple[bytes, int]] = []
    at = HEADER_LEN
    try:
        while at < len(data):
            if is_open:
                window = data[at : at + FRAME_HEAD_LEN]
                if window.count(0) == len(window):
                    found = first_nonzero(data, at)
                    if found is not None:
                        reason = "a byte that is not zero after the last frame, which ends at %d" % at
                        raise Damage(name, found, reason, chain.commit + 1, chain.next_position)
                    break
            frame = read_frame(name, data, at, chain)
            count, epoch, recorded_at = check_commit_header(name, at, frame, ledger_id, chain)
            material = [frame[FRAME_HEAD_LEN:ENTRIES_AT]]
            key_count = 0
            entry = ENTRIES_AT
            for position in range(chain.next_position, chain.next_position + count):
                end, keys = read_event(name, frame, at, entry, chain.commit + 1, position)
                hashed = event_hash(frame[entry + 4 : end])
                material.append(hashed)
                add_leaf(tree, position, leaf_hash(position, recorded_at, hashed))
                key_count += len(keys)
                if for_index:
                    pairs.extend((key, position - before.next_position) for key in keys)
                entry = end
            if entry != len(frame):
                reason = "%d bytes are left in the frame after its last event" % (len(frame) - entry)
                raise Damage(name, at + entry, reason, chain.commit + 1, chain.next_position + count)
            if for_index:
                commits.append((at, chain.next_position - before.next_position, recorded_at))
            chain = Chain(
                ledger_id,
                chain.commit + 1,
                chain.next_position + count,
                recorded_at,
                epoch,
                commit_hash(b"".join(material)),
                chain.pairs + key_count,
                (),
            )
            if chain.commit in wanted:
                facts = (chain.commit, chain.next_position, recorded_at, epoch, chain.hash)
                named[chain.commit] = Slot(*facts, number, at, at + len(frame))
            at += len(frame)
    except Damage as damage:
        damage.frame = at
        raise
    if not is_open and chain.commit == before.commit:
        raise Damage(name, at, "a sealed segment without a frame", chain.commit + 1, chain.next_position)
    return Segment(chain._replace(tree=tuple(tree)), at, named, tuple(commits), tuple(pairs))


def complete_frame_from(data: Any, at: int) -> bool:
    """Whether a frame with right magic, length and checksum starts at `at` or at any byte after it."""
    at = data.find(b"LTF1", at)
    while at >= 0:
        if frame_at(data, at) is not None:
            return True
        at = data.find(b"LTF1", at + 1)
    return False


# The head file


def read_slot(data: bytes, index: int, ledger_id: Optional[bytes]) -> Slot:
    """A valid slot of the head file, or damage."""
    base = index * SLOT_LEN

    def damage(offset: int, reason: str) -> Damage:
        return Damage("head", base + offset, "slot %d: %s" % (index, reason))

    slot = data[base : base + SLOT_LEN]
    magic, version, slot_ledger, *facts = SLOT.unpack_from(slot)
    if magic != b"LOTLHEAD":
        raise damage(0, "wrong magic")
    if U32.unpack_from(slot, 508)[0] != zlib.crc32(slot[:508]):
        raise damage(508, "wrong checksum")
    check_version(version, "head", base + 8)
    if ledger_id is not None and slot_ledger != ledger_id:
        raise damage(12, "another ledger id: %s, not %s" % (slot_ledger.hex(), ledger_id.hex()))
    found = first_nonzero(slot[:508], SLOT.size)
    if found is not None:
        raise damage(found, "a byte that must be zero is not")
    slot = Slot(*facts)
    if slot.commit >= LIMIT_63 or slot.next_position > LIMIT_63:
        raise damage(28, "a number beyond its limit")
    return slot


def read_head(files: Any, ledger_id: Optional[bytes]) -> tuple[dict[int, Slot], Optional[Damage]]:
    """The valid slots by their index, and the first damage of the file itself."""
    if "head" not in files:
        return {}, Damage("head", 0, "the head file is missing")
    data = bytes(files["head"][:])
    if len(data) != SLOTS * SLOT_LEN:
        reason = "the head file has %d bytes, not %d" % (len(data), SLOTS * SLOT_LEN)
        return {}, Damage("head", min(len(data), SLOTS * SLOT_LEN), reason)
    slots: dict[int, Slot] = {}
    first: Optional[Damage] = None
    for index in range(SLOTS):
        try:
            slots[index] = read_slot(data, index, ledger_id)
        except Damage as damage:
            first = first or damage
    if first is not None and not slots:
        first = Damage("head", first.offset, "no slot is valid; " + first.reason)
    elif first is not None:
        first.mend = "the next writer writes the slot again"
    return slots, first


def check_slots(slots: dict[int, Slot], named: dict[int, Slot]) -> None:
    """Each valid slot says of its commit what the chain says. The commits are in the chain."""
    for index, slot in sorted(slots.items()):
        truth = NOTHING_RECORDED if slot.commit == 0 else named[slot.commit]
        for field, has, must in zip(Slot._fields, slot, truth):
            if has != must:
                if isinstance(has, bytes):
                    has, must = has.hex(), must.hex()
                reason = "slot %d: %s of commit %d is %s, not %s"
                offset = index * SLOT_LEN + SLOT_OFFSETS[field]
                raise Damage("head", offset, reason % (index, field, slot.commit, has, must))


# Keyring and key index


def check_keyring(data: bytes, ledger_id: bytes) -> tuple[int, int]:
    """Checks the keyring; returns how many keys are present and how many erased."""

    def damage(offset: int, reason: str) -> Damage:
        return Damage("keyring", offset, reason)

    if len(data) < KEYRING_HEAD.size + 4:
        raise damage(len(data), "the file ends within its header")
    magic, version, keyring_ledger, records = KEYRING_HEAD.unpack_from(data)
    if magic != b"LOTLKEYS":
        raise damage(0, "wrong magic of a keyring")
    if U32.unpack_from(data, len(data) - 4)[0] != zlib.crc32(data[:-4]):
        raise damage(len(data) - 4, "wrong checksum of the keyring")
    check_version(version, "keyring", 8)
    if keyring_ledger != ledger_id:
        raise damage(12, "another ledger id: %s, not %s" % (keyring_ledger.hex(), ledger_id.hex()))
    if len(data) != KEYRING_HEAD.size + KEY_RECORD.size * records + 4:
        raise damage(28, "%d records do not make %d bytes" % (records, len(data)))
    counts = {1: 0, 2: 0}
    previous = None
    for at in range(KEYRING_HEAD.size, len(data) - 4, KEY_RECORD.size):
        key_id, state, _, secret = KEY_RECORD.unpack_from(data, at)
        if previous is not None and key_id <= previous:
            raise damage(at, "key ids are not strictly ascending")
        if state not in counts:
            raise damage(at + 16, "state %d of a key is unknown" % state)
        if state == 2 and secret != ZERO_32:
            raise damage(at + 28, "the secret of an erased key is not zero")
        counts[state] += 1
        previous = key_id
    return counts[1], counts[2]


def mix(x: int) -> int:
    mask = 0xFFFFFFFFFFFFFFFF
    x ^= x >> 33
    x = x * 0xFF51AFD7ED558CCD & mask
    x ^= x >> 33
    x = x * 0xC4CEB9FE1A85EC53 & mask
    return x ^ x >> 33


def filter_blocks(keys: set[bytes], blocks: int) -> bytes:
    bits = bytearray(64 * blocks)
    for key in keys:
        k0, k1 = struct.unpack(">QQ", key)
        g = mix(k1 ^ mix(k0))
        block = g * blocks >> 64
        f = mix(g ^ 0x9E3779B97F4A7C15)
        for i in range(7):
            bit = f >> 9 * i & 511
            bits[64 * block + bit // 8] |= 1 << bit % 8
    return bytes(bits)


def build_index(
    ledger_id: bytes,
    first_commit: int,
    first_position: int,
    segment_len: int,
    last_hash: bytes,
    events: int,
    commits: tuple[tuple[int, int, int], ...],
    pairs: tuple[tuple[bytes, int], ...],
) -> bytes:
    """The key index of a sealed segment, byte for byte."""

    def page(content: bytes) -> bytes:
        content = content.ljust(PAGE - 4, b"\0")
        return content + U32.pack(zlib.crc32(content))

    blocks = max(1, -(-len(pairs) * 10 // 512))
    counts = (len(commits), events, len(pairs), blocks)
    out = [page(INDEX_HEADER.pack(b"LOTLIDX1", VERSION, ledger_id, first_commit, first_position, segment_len, last_hash, *counts))]
    resident = []
    for entries, layout, per_page in (
        (commits, INDEX_COMMIT, COMMITS_PER_PAGE),
        (sorted(pairs), INDEX_KEY, KEYS_PER_PAGE),
    ):
        for start in range(0, len(entries), per_page):
            out.append(page(b"".join(layout.pack(*e) for e in entries[start : start + per_page])))
            resident.append(layout.pack(*entries[start]))
    resident.append(filter_blocks({key for key, _ in pairs}, blocks))
    tail = b"".join(resident)
    return b"".join(out) + tail + U32.pack(zlib.crc32(tail))


def check_index(name: str, data: bytes, must: bytes) -> None:
    if data == must:
        return
    mend = "the next writer rebuilds the index"
    if len(data) >= PAGE and data[:8] == must[:8] and U32.unpack_from(data, 4092)[0] == zlib.crc32(data[:4092]):
        try:
            check_version(U32.unpack_from(data, 8)[0], name, 8)
        except Damage as damage:
            damage.mend = mend
            raise
    # The first byte that differs is the highest one of the two as numbers.
    shared = min(len(data), len(must))
    differing = int.from_bytes(data[:shared], "big") ^ int.from_bytes(must[:shared], "big")
    at = shared - (differing.bit_length() + 7) // 8
    raise Damage(name, at, "the key index is not that of its segment", mend=mend)


# The whole ledger


def walk_segments(files: Any, slots: dict[int, Slot], indexed: list[tuple[str, bytes]]) -> tuple[Chain, str, int, dict[int, Slot]]:
    """Checks all segments in order; gives the chain's end with its place, and the named commits.

    Appends name and right content of each sealed segment's index that the folder holds to `indexed`.
    """
    numbers = sorted(int(match.group(1)) for match in map(SEGMENT_NAME.match, files) if match)
    wanted = frozenset(slot.commit for slot in slots.values())
    chain, end, name = START, 0, segment_name(1)
    if not numbers:
        raise Damage(name, 0, "there is no segment", 1, 0)
    named: dict[int, Slot] = {}
    for number in numbers:
        if number > chain.commit + 1:
            reason = "commits %d..=%d are missing: a segment is missing, or this one is cut"
            raise Damage(name, end, reason % (chain.commit + 1, number - 1), chain.commit + 1, chain.next_position)
        name = segment_name(number)
        if number <= chain.commit:
            reason = "the segment starts with commit %d, which an earlier segment holds" % number
            raise Damage(name, 28, reason, number)
        before = chain
        is_open = number == numbers[-1]
        for_index = not is_open and index_name(number) in files
        data = files[name]
        try:
            segment = walk_segment(name, number, data, before, is_open, wanted, for_index)
        except Damage as damage:
            beyond_head = slots and damage.commit > max(slot.commit for slot in slots.values())
            in_frames = damage.offset >= HEADER_LEN and len(data) <= SEGMENT_MAX
            if is_open and beyond_head and in_frames and not complete_frame_from(data, damage.frame):
                damage.mend = "the next writer cuts this torn tail"
            raise
        chain, end = segment.chain, segment.end
        named.update(segment.named)
        if for_index:
            events = chain.next_position - before.next_position
            facts = (chain.ledger_id, number, before.next_position, end, chain.hash, events)
            indexed.append((index_name(number), build_index(*facts, segment.commits, segment.pairs)))
    return chain, name, end, named


def verify(files: Any) -> dict[str, Any]:
    """Verifies a ledger, given as a mapping from file names to their bytes; raises `Damage`."""
    # The head is read before the chain in order to know which commits to remember, and judged after it.
    slots, _ = read_head(files, None)
    indexed: list[tuple[str, bytes]] = []
    chain, name, end, named = walk_segments(files, slots, indexed)
    slots, head_damage = read_head(files, chain.ledger_id)
    head = max((slot.commit for slot in slots.values()), default=0)
    if head > chain.commit:
        reason = "the chain ends with commit %d, the head file names commit %d" % (chain.commit, head)
        raise Damage(name, end, reason, chain.commit + 1, chain.next_position)
    if head_damage is not None:
        raise head_damage
    check_slots(slots, named)
    present, erased = (0, 0)
    if "keyring" in files:
        present, erased = check_keyring(bytes(files["keyring"][:]), chain.ledger_id)
    for file, must in indexed:
        check_index(file, bytes(files[file][:]), must)
    return answer(files, chain, head, indexed, present, erased)


def answer(files: Any, chain: Chain, head: int, indexed: list[tuple[str, bytes]], present: int, erased: int) -> dict[str, Any]:
    segments = sorted(int(match.group(1)) for match in map(SEGMENT_NAME.match, files) if match)
    indexes = {int(match.group(1)) for match in map(INDEX_NAME.match, files) if match}
    notes = ["%s is missing, it can be rebuilt" % index_name(n) for n in segments[:-1] if n not in indexes]
    notes += ["%s belongs to no sealed segment" % index_name(n) for n in sorted(indexes - set(segments[:-1]))]
    if head < chain.commit:
        notes.append("%d commits follow the head, which is commit %d" % (chain.commit - head, head))
    return {
        "ok": True,
        "ledger": chain.ledger_id.hex(),
        "segments": len(segments),
        "commits": chain.commit,
        "events": chain.next_position,
        "keys": chain.pairs,
        "epoch": chain.epoch,
        "recorded_at": None if chain.recorded_at == NONE else chain.recorded_at,
        "hash": chain.hash.hex(),
        "root": tree_root(chain.tree).hex(),
        "head_commit": head,
        "indexes": len(indexed),
        "keys_present": present,
        "keys_erased": erased,
        "notes": notes,
    }


class Folder:
    """A ledger folder as a mapping from names to bytes; large files are mapped, not read."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.names = frozenset(os.listdir(path))

    def __contains__(self, name: str) -> bool:
        return name in self.names

    def __iter__(self):
        return iter(self.names)

    def __getitem__(self, name: str) -> Any:
        with open(os.path.join(self.path, name), "rb") as file:
            if os.fstat(file.fileno()).st_size == 0:
                return b""
            return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


def show(result: dict[str, Any]) -> str:
    if "error" in result:
        return "cannot verify: %s" % result["error"]
    if not result["ok"]:
        damage = result["damage"]
        lines = ["DAMAGED: %s" % damage["reason"]]
        lines += ["  %-9s %s" % (key, damage[key]) for key in ("file", "offset", "commit", "position", "mend") if damage[key] is not None]
        return "\n".join(lines)
    lines = ["intact"]
    lines += ["  %-12s %s" % (key, value) for key, value in result.items() if key not in ("ok", "notes")]
    lines += ["  note: %s" % note for note in result["notes"]]
    return "\n".join(lines)


def main(arguments: Optional[list[str]] = None) -> int:
    parser = argparse.ArgumentParser(description="Verifies a Lotline ledger folder.")
    parser.add_argument("dir", help="the ledger's folder; nobody may be writing to it")
    parser.add_argument("--json", action="store_true", help="print the answer as JSON")
    options = parser.parse_args(arguments)
    code = 0
    try:
        result = verify(Folder(options.dir))
    except Damage as damage:
        result, code = {"ok": False, "damage": damage.as_dict()}, 1
    except OSError as error:
        result, code = {"ok": False, "error": str(error)}, 2
    print(json.dumps(result, indent=2) if options.json else show(result))
    return code


if __name__ == "__main__":
    sys.exit(main())
