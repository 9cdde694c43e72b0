"""Tests of the ledger verifier: python3 -m unittest -v test_verifier (in this folder).

What the verifier calls damage is shown on the ledger of schemas/ledger-vectors, changed bit by bit, and
on small ledgers that break one rule each and are right in everything else, hashes and checksums included.

Of the vectors' files all 259,952 flipped bits are tried, and all 32,494 shorter lengths; 86 of these cut
only zeros of the open segment and are no damage, 32,408 are found.
"""

import functools
import hashlib
import json
import os
import shutil
import struct
import subprocess
import sys
import tempfile
import unittest
import zlib

HERE = os.path.dirname(os.path.abspath(__file__))
VECTORS = os.path.join(HERE, "..", "..", "schemas", "ledger-vectors")
sys.path.insert(0, HERE)

import blake3_pure  # noqa: E402
import verify_ledger as vl  # noqa: E402


def setUpModule():
    # All of these are functions of their arguments, and most files of a changed copy are as before.
    for name, size in (
        ("event_hash", 100_000),
        ("commit_hash", 100_000),
        ("leaf_hash", 1000),
        ("node_hash", 1000),
        ("walk_segment", 64),
        ("build_index", 64),
        ("read_slot", 64),
    ):
        setattr(vl, name, functools.lru_cache(size)(getattr(vl, name)))


def load_vectors():
    folder = os.path.join(VECTORS, "ledger")
    files = {}
    for name in os.listdir(folder):
        with open(os.path.join(folder, name), "rb") as file:
            files[name] = file.read()
    return files


def load_json(name):
    with open(os.path.join(VECTORS, name), encoding="utf-8") as file:
        return json.load(file)


FILES = load_vectors()
EXPECTED = load_json("expected.json")
DAMAGED = load_json("damaged.json")
SEGMENTS = sorted(name for name in FILES if name.endswith(".ledger"))
INDEXES = sorted(name for name in FILES if name.endswith(".index"))
OPEN = SEGMENTS[-1]
COMMITS = EXPECTED["commits"]
LAST = COMMITS[-1]
END = LAST["offset"] + LAST["length"]


def damage_of(files):
    """The damage that is found, or None."""
    try:
        vl.verify(files)
    except vl.Damage as damage:
        return damage
    return None


def damage_of_index(files):
    """The damage that is found where only an index differs from the vectors."""
    for name in INDEXES:
        try:
            vl.check_index(name, files[name], FILES[name])
        except vl.Damage as damage:
            return damage
    return None


def flipped(data, offset, mask):
    return data[:offset] + bytes([data[offset] ^ mask]) + data[offset + 1 :]


def with_crc(frame):
    return frame[:4] + struct.pack(">I", zlib.crc32(frame[8:])) + frame[8:]


def frames_of(name):
    return [c for c in COMMITS if c["file"] == name]


def commit_at(name, offset):
    """The commit in whose bytes an offset of a segment is, its header being its first commit's."""
    frames = frames_of(name)
    if offset < vl.HEADER_LEN:
        return frames[0]
    return next((c for c in frames if c["offset"] <= offset < c["offset"] + c["length"]), None)


class Blake3(unittest.TestCase):
    # From the official test vectors: length of the input (bytes 0, 1, ... 250, 0, ...), hash, derive_key.
    CASES = (
        (0, "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262", "2cc39783c223154fea8dfb7c1b1660f2ac2dcbd1c1de8277b0b0dd39b7e50d7d"),
        (1, "2d3adedff11b61f14c886e35afa036736dcd87a74d27b5c1510225d0f592e213", "b3e2e340a117a499c6cf2398a19ee0d29cca2bb7404c73063382693bf66cb06c"),
        (1023, "10108970eeda3eb932baac1428c7a2163b0e924c9a9e25b35bba72b28f70bd11", "74a16c1c3d44368a86e1ca6df64be6a2f64cce8f09220787450722d85725dea5"),
        (1024, "42214739f095a406f3fc83deb889744ac00df831c10daa55189b5d121c855af7", "7356cd7720d5b66b6d0697eb3177d9f8d73a4a5c5e968896eb6a689684302706"),
        (1025, "d00278ae47eb27b34faecf67b4fe263f82d5412916c1ffd97c8cb7fb814b8444", "effaa245f065fbf82ac186839a249707c3bddf6d3fdda22d1b95a3c970379bcb"),
        (2048, "e776b6028c7cd22a4d0ba182a8bf62205d2ef576467e838ed6f2529b85fba24a", "7b2945cb4fef70885cc5d78a87bf6f6207dd901ff239201351ffac04e1088a23"),
        (2049, "5f4d72f40d7a5f82b15ca2b2e44b1de3c2ef86c426c95c1af0b6879522563030", "2ea477c5515cc3dd606512ee72bb3e0e758cfae7232826f35fb98ca1bcbdf273"),
        (3072, "b98cb0ff3623be03326b373de6b9095218513e64f1ee2edd2525c7ad1e5cffd2", "050df97f8c2ead654d9bb3ab8c9178edcd902a32f8495949feadcc1e0480c46b"),
        (3073, "7124b49501012f81cc7f11ca069ec9226cecb8a2c850cfe644e327d22d3e1cd3", "72613c9ec9ff7e40f8f5c173784c532ad852e827dba2bf85b2ab4b76f7079081"),
        (4096, "015094013f57a5277b59d8475c0501042c0b642e531b0a1c8f58d2163229e969", "1e0d7f3db8c414c97c6307cbda6cd27ac3b030949da8e23be1a1a924ad2f25b9"),
        (5121, "628bd2cb2004694adaab7bbd778a25df25c47b9d4155a55f8fbd79f2fe154cff", "b07f01e518e702f7ccb44a267e9e112d403a7b3f4883a47ffbed4b48339b3c34"),
        (7169, "a003fc7a51754a9b3c7fae0367ab3d782dccf28855a03d435f8cfe74605e7817", "554b0a5efea9ef183f2f9b931b7497995d9eb26f5c5c6dad2b97d62fc5ac31d9"),
    )
    CONTEXT = "BLAKE3 2019-12-27 16:29:52 test vectors context"

    def test_official_vectors(self):
        for length, plain, derived in self.CASES:
            data = bytes(i % 251 for i in range(length))
            self.assertEqual(blake3_pure.digest(data).hex(), plain, length)
            self.assertEqual(blake3_pure.derive_key(self.CONTEXT, data).hex(), derived, length)

    def test_the_verifier_hashes_as_the_plain_module_does(self):
        for length in (0, 18, 64, 65, 1024, 1025, 5000):
            data = bytes(i % 251 for i in range(length))
            self.assertEqual(vl.derive_key("a context", data), blake3_pure.derive_key("a context", data))


class Tree(unittest.TestCase):
    def test_root_is_that_of_the_recursive_definition(self):
        def root(leaves):
            if not leaves:
                return hashlib.sha256(b"").digest()
            if len(leaves) == 1:
                return leaves[0]
            k = 1
            while 2 * k < len(leaves):
                k *= 2
            return hashlib.sha256(b"\1" + root(leaves[:k]) + root(leaves[k:])).digest()

        leaves, tree = [], []
        for n in range(70):
            self.assertEqual(vl.tree_root(tuple(tree)), root(leaves), n)
            leaf = hashlib.sha256(b"%d" % n).digest()
            vl.add_leaf(tree, n, leaf)
            leaves.append(leaf)


class Vectors(unittest.TestCase):
    def test_accepted_with_the_expected_values(self):
        result = vl.verify(FILES)
        head = EXPECTED["head"]
        self.assertEqual(result["ledger"], EXPECTED["ledger"])
        self.assertEqual(result["commits"], head["commit"])
        self.assertEqual(result["head_commit"], head["commit"])
        self.assertEqual(result["events"], head["next_position"])
        self.assertEqual(result["epoch"], head["epoch"])
        self.assertEqual(result["recorded_at"], head["recorded_at"])
        self.assertEqual(result["hash"], head["hash"])
        self.assertEqual(result["root"], EXPECTED["root"])
        self.assertEqual((result["segments"], result["indexes"]), (3, 2))
        self.assertEqual((result["keys_present"], result["keys_erased"]), (1, 1))
        self.assertEqual(result["notes"], [])

    def test_every_commit_event_key_and_root_is_the_expected_one(self):
        leaves, tree, by_key, chain = [], [], {}, vl.START
        event_hashes, original = {}, vl.leaf_hash

        def recorded_leaf(position, recorded_at, hash_of_event):
            event_hashes[position] = hash_of_event.hex()
            leaves.append(original(position, recorded_at, hash_of_event))
            return leaves[-1]

        vl.leaf_hash = recorded_leaf
        vl.walk_segment.cache_clear()
        named = {}
        try:
            for name in SEGMENTS:
                first = frames_of(name)[0]
                everything = frozenset(c["number"] for c in COMMITS)
                segment = vl.walk_segment(name, first["number"], FILES[name], chain, name == OPEN, everything, True)
                for key, index in segment.pairs:
                    by_key.setdefault(key.hex(), []).append(first["first_position"] + index)
                named.update(segment.named)
                chain = segment.chain
        finally:
            vl.leaf_hash = original
        self.assertEqual(by_key, EXPECTED["positions_by_key"])
        previous = vl.ZERO_32.hex()
        for commit in COMMITS:
            slot = named[commit["number"]]
            self.assertEqual(slot.hash.hex(), commit["commit_hash"])
            self.assertEqual(commit["previous"], previous)
            self.assertEqual(vl.segment_name(slot.segment), commit["file"])
            self.assertEqual((slot.start, slot.end - slot.start), (commit["offset"], commit["length"]))
            self.assertEqual((slot.recorded_at, slot.epoch), (commit["recorded_at"], commit["epoch"]))
            self.assertEqual(slot.next_position, commit["first_position"] + len(commit["events"]))
            for event in commit["events"]:
                self.assertEqual(event_hashes[event["position"]], event["event_hash"])
                self.assertEqual(leaves[event["position"]].hex(), event["leaf_hash"])
                vl.add_leaf(tree, event["position"], leaves[event["position"]])
                keys = [key for key, positions in sorted(by_key.items()) if event["position"] in positions]
                self.assertEqual(keys, event["keys"])
            self.assertEqual(vl.tree_root(tuple(tree)).hex(), commit["root_after"])
            previous = commit["commit_hash"]

    def test_listed_damage_is_refused_at_the_listed_commit(self):
        for change in DAMAGED["flips"] + DAMAGED["cuts"]:
            data = FILES[change["file"]]
            if "length" in change:
                changed = data[: change["length"]]
            else:
                changed = flipped(data, change["offset"], change["xor"])
            damage = damage_of({**FILES, change["file"]: changed})
            self.assertIsNotNone(damage, change)
            self.assertEqual((damage.file, damage.commit), (change["file"], change["commit"]), change)


class ChangedCopies(unittest.TestCase):
    def check_place(self, damage, name, offset):
        """Damage of one bit is found in its file, commit and frame, slot, header or index byte."""
        what = (name, offset, damage and damage.as_dict())
        self.assertIsNotNone(damage, what)
        self.assertEqual(damage.file, name, what)
        if name == "keyring":
            self.assertIsNone(damage.commit, what)
        elif name == "head":
            self.assertEqual((damage.commit, damage.offset // vl.SLOT_LEN), (None, offset // vl.SLOT_LEN), what)
        elif name in INDEXES:
            self.assertEqual((damage.commit, damage.offset), (None, offset), what)
        else:
            commit = commit_at(name, offset)
            if commit is None:
                # The first twelve bytes after the last frame are read as the start of a frame.
                place = offset if offset >= END + vl.FRAME_HEAD_LEN else END
                must = (LAST["number"] + 1, EXPECTED["head"]["next_position"], place)
                self.assertEqual((damage.commit, damage.position, damage.offset), must, what)
            else:
                self.assertEqual((damage.commit, damage.position), (commit["number"], commit["first_position"]), what)
                start, end = commit["offset"], commit["offset"] + commit["length"]
                if offset < vl.HEADER_LEN:
                    start, end = 0, vl.HEADER_LEN
                self.assertTrue(start <= damage.offset < end, what)

    def test_every_single_flipped_bit_is_found_and_located(self):
        for name in sorted(FILES):
            found = 0
            for offset in range(len(FILES[name])):
                for bit in range(8):
                    changed = flipped(FILES[name], offset, 1 << bit)
                    # An index is compared last and alone: one bit a byte runs through all the rest.
                    find = damage_of_index if name in INDEXES and bit != offset % 8 else damage_of
                    self.check_place(find({**FILES, name: changed}), name, offset)
                    found += 1
            print("flipped bits: %d of %d found in %s" % (found, 8 * len(FILES[name]), name))

    def test_flipped_bits_under_a_right_checksum_are_found_by_rules_and_hashes(self):
        for name in SEGMENTS:
            found = here = 0
            for commit in frames_of(name):
                start, end = commit["offset"], commit["offset"] + commit["length"]
                for offset in range(start + 8, end):
                    # A long event is hashed anew each time: one bit a byte is enough there.
                    bits = range(8) if commit["length"] < 1024 else (offset % 8,)
                    for bit in bits:
                        data = flipped(FILES[name], offset, 1 << bit)
                        (length,) = struct.unpack_from(">I", data, start + 8)
                        length = length if length <= len(data) - start else end - start
                        frame = with_crc(data[start : start + length])
                        changed = data[:start] + frame + data[start + length :]
                        damage = damage_of({**FILES, name: changed})
                        what = (name, offset, bit, damage and damage.as_dict())
                        self.assertIsNotNone(damage, what)
                        # What only the hash covers shows where the hash is named next.
                        next_places = (commit["number"], commit["number"] + 1)
                        if commit is LAST and damage.commit != commit["number"]:
                            self.assertEqual(damage.file, "head", what)
                        else:
                            self.assertIn(damage.commit, next_places, what)
                            here += damage.commit == commit["number"]
                        self.assertFalse(damage.mend, what)
                        found += 1
            print("flipped bits, checksum repaired: %d of %d found in %s (%d in their own commit)" % (found, found, name, here))

    def test_flipped_bits_of_headers_and_slots_under_a_right_checksum_are_found(self):
        places = [(name, 0, 92) for name in SEGMENTS]
        places += [("head", vl.SLOT_LEN * slot, 508) for slot in range(3)]
        found = 0
        for name, start, length in places:
            for offset in range(start, start + length):
                for bit in range(8):
                    data = flipped(FILES[name], offset, 1 << bit)
                    crc = struct.pack(">I", zlib.crc32(data[start : start + length]))
                    data = data[: start + length] + crc + data[start + length + 4 :]
                    damage = damage_of({**FILES, name: data})
                    self.assertIsNotNone(damage, (name, offset, bit))
                    found += 1
        print("flipped bits of headers and head slots, checksum repaired: %d of %d found" % (found, found))

    def test_every_truncated_length_is_found_and_located(self):
        for name in sorted(FILES):
            found = harmless = 0
            for length in range(len(FILES[name])):
                damage = damage_of({**FILES, name: FILES[name][:length]})
                what = (name, length, damage and damage.as_dict())
                if name == OPEN and length >= END:
                    self.assertIsNone(damage, what)
                    harmless += 1
                    continue
                self.assertIsNotNone(damage, what)
                self.assertEqual(damage.file, name, what)
                if name in SEGMENTS:
                    self.assertEqual(damage.commit, commit_at(name, length)["number"], what)
                else:
                    self.assertIsNone(damage.commit, what)
                found += 1
            print("truncated lengths: %d of %d found in %s, %d cut only zeros ahead" % (found, found + harmless, name, harmless))

    def test_removed_duplicated_and_swapped_commits_are_found(self):
        found = 0

        def frame(commit):
            return FILES[commit["file"]][commit["offset"] : commit["offset"] + commit["length"]]

        def with_frames(name, frames):
            tail = FILES[OPEN][END:] if name == OPEN else b""
            return {**FILES, name: FILES[name][: vl.HEADER_LEN] + b"".join(frames) + tail}

        for name in SEGMENTS:
            commits = frames_of(name)
            frames = [frame(c) for c in commits]
            cases = []
            for i, commit in enumerate(commits):
                number = commit["number"]
                cases.append((number, frames[:i] + frames[i + 1 :]))
                cases.append((number + 1, frames[: i + 1] + frames[i:]))
                for j in range(i + 1, len(commits)):
                    swapped = list(frames)
                    swapped[i], swapped[j] = frames[j], frames[i]
                    cases.append((number, swapped))
                for other in COMMITS:
                    if other is not commit:
                        cases.append((number, frames[:i] + [frame(other)] + frames[i + 1 :]))
            for number, changed in cases:
                damage = damage_of(with_frames(name, changed))
                self.assertIsNotNone(damage, (name, number))
                self.assertEqual((damage.file, damage.commit), (name, number), damage.as_dict())
                found += 1
        print("removed, duplicated, swapped and replaced commits: %d of %d found" % (found, found))

    def test_missing_and_exchanged_files_are_found(self):
        for name, commit in zip(SEGMENTS, (1, 5, 6)):
            files = {k: v for k, v in FILES.items() if k != name}
            damage = damage_of(files)
            self.assertEqual(damage and damage.commit, commit, name)
        for a in SEGMENTS:
            for b in SEGMENTS:
                if a != b:
                    damage = damage_of({**FILES, a: FILES[b]})
                    self.assertEqual((damage.file, damage.commit), (a, frames_of(a)[0]["number"]))
        damage = damage_of({k: v for k, v in FILES.items() if k != "head"})
        self.assertEqual((damage.file, damage.commit), ("head", None))

    def test_changed_head_files_are_found(self):
        head = FILES["head"]
        slots = [head[i : i + vl.SLOT_LEN] for i in range(0, len(head), vl.SLOT_LEN)]
        for changed, file, mend in (
            (b"", "head", False),
            (bytes(len(head)), "head", False),
            (head + b"\0", "head", False),
            (slots[0] + slots[1] + bytes(vl.SLOT_LEN), "head", True),
            (slots[0] + bytes(vl.SLOT_LEN) + slots[2], "head", True),
        ):
            damage = damage_of({**FILES, "head": changed})
            self.assertEqual((damage.file, damage.commit, bool(damage.mend)), (file, None, mend), damage.as_dict())

    def test_a_head_older_than_the_last_commit_is_accepted_and_noted(self):
        anchor = FILES["head"][2 * vl.SLOT_LEN :]
        result = vl.verify({**FILES, "head": anchor * 3})
        self.assertEqual((result["commits"], result["head_commit"]), (9, 7))
        self.assertEqual(result["notes"], ["2 commits follow the head, which is commit 7"])

    def test_a_torn_tail_is_told_from_other_damage(self):
        anchor = FILES["head"][2 * vl.SLOT_LEN :]
        torn = {**FILES, OPEN: FILES[OPEN][: END - 5]}
        damage = damage_of({**torn, "head": anchor * 3})
        self.assertEqual(damage.commit, 9)
        self.assertIn("torn tail", damage.mend)
        self.assertIsNone(damage_of(torn).mend)
        bad_before_good = {**FILES, OPEN: flipped(FILES[OPEN], COMMITS[7]["offset"] + 50, 1), "head": anchor * 3}
        self.assertEqual((damage_of(bad_before_good).commit, damage_of(bad_before_good).mend), (8, None))

    def test_missing_indexes_other_names_and_longer_zeros_are_no_damage(self):
        files = {k: v for k, v in FILES.items() if k not in INDEXES and k != "keyring"}
        files.update({"lock": b"", "x.tmp": b"1", "segment-1.ledger": b"?", "cut-00000000000000000009-0000000557-1.bytes": b"?"})
        files[OPEN] = FILES[OPEN] + bytes(3_000_000)
        result = vl.verify(files)
        self.assertEqual((result["root"], len(result["notes"])), (EXPECTED["root"], 2))
        damage = damage_of({**files, OPEN: files[OPEN][:-1] + b"\1"})
        self.assertEqual((damage.offset, damage.commit), (len(files[OPEN]) - 1, 10))


LEDGER = bytes(range(16))


def event(keys, payload=b"", count=None):
    return struct.pack(">H", len(keys) if count is None else count) + b"".join(keys) + payload


def key(n):
    return struct.pack(">QQ", 0, n)


def entry(content, length=None):
    return struct.pack(">I", len(content) if length is None else length) + content


class Made:
    """A ledger in one segment whose commits may each break a rule; all else follows from it."""

    def __init__(self):
        self.frames = b""
        self.slot = vl.NOTHING_RECORDED

    def commit(self, events=None, entries=None, version=1, ledger=LEDGER, magic=b"LTF1", **fields):
        events = [event([key(1)], b"x")] if events is None else events
        slot = self.slot
        header = {
            "number": slot.commit + 1,
            "first": slot.next_position,
            "count": len(events),
            "epoch": max(1, slot.epoch),
            "recorded_at": slot.recorded_at + 1 if slot.commit else 1000,
            "previous": slot.hash,
        }
        header.update(fields)
        packed = vl.COMMIT_HEADER.pack(version, ledger, *header.values())
        body = packed + (b"".join(map(entry, events)) if entries is None else entries)
        frame = with_crc(magic + bytes(4) + struct.pack(">I", len(body) + 12) + body)
        hashed = vl.commit_hash(packed + b"".join(map(vl.event_hash, events)))
        start = vl.HEADER_LEN + len(self.frames)
        self.frames += frame
        facts = (header["number"], header["first"] + header["count"], header["recorded_at"], header["epoch"], hashed)
        self.slot = vl.Slot(*facts, 1, start, start + len(frame))
        return self

    def files(self, zeros=0, ledger=LEDGER):
        header = vl.SEGMENT_HEADER.pack(b"LOTLSEG1", 1, ledger, 1, 0, vl.NONE, 0, vl.ZERO_32, 0)[:92]
        header += struct.pack(">I", zlib.crc32(header))
        slot = vl.SLOT.pack(b"LOTLHEAD", 1, ledger, *self.slot).ljust(508, b"\0")
        slot += struct.pack(">I", zlib.crc32(slot))
        return {vl.segment_name(1): header + self.frames + bytes(zeros), "head": slot * 3}


class Rules(unittest.TestCase):
    def refused(self, reason, position=1, commit=2, **broken):
        files = Made().commit().commit(**broken).files()
        damage = damage_of(files)
        self.assertIsNotNone(damage, reason)
        self.assertIn(reason, damage.reason)
        self.assertEqual((damage.file, damage.commit, damage.position), (vl.segment_name(1), commit, position))
        self.assertIsNone(damage.mend)

    def test_the_made_ledger_is_right(self):
        for zeros in (0, 1, 11, 12, 13, 5000):
            result = vl.verify(Made().commit().commit().commit().files(zeros))
            self.assertEqual((result["commits"], result["events"]), (3, 3))

    def test_an_empty_ledger_is_right(self):
        result = vl.verify(Made().files(100))
        self.assertEqual((result["commits"], result["events"], result["recorded_at"]), (0, 0, None))
        self.assertEqual(result["root"], hashlib.sha256(b"").hexdigest())

    def test_each_rule_of_the_chain(self):
        self.refused("format version 2 is unknown, this program knows version 1", version=2)
        self.refused("another ledger id", ledger=bytes(16))
        self.refused("commit number is 3, not 2", number=3)
        self.refused("commit number is 1, not 2", number=1)
        self.refused("first position is 2, not 1", first=2)
        self.refused("first position is 0, not 1", first=0)
        self.refused("epoch 0", epoch=0)
        self.refused('recorded_at is "none"', recorded_at=vl.NONE)
        self.refused("recorded_at 1000 does not follow 1000", recorded_at=1000)
        self.refused("recorded_at 999 does not follow 1000", recorded_at=999)
        self.refused("previous commit hash", previous=bytes(32))
        damage = damage_of(Made().commit(epoch=3).commit(epoch=2).files())
        self.assertEqual((damage.reason, damage.commit), ("epoch 2 after epoch 3", 2))

    def test_each_rule_of_the_first_commit(self):
        for fields in ({"number": 0}, {"number": 2}, {"first": 1}, {"epoch": 0}, {"recorded_at": vl.NONE}, {"previous": b"\1" * 32}):
            damage = damage_of(Made().commit(**fields).files())
            self.assertEqual((damage.file, damage.commit, damage.position), (vl.segment_name(1), 1, 0), fields)
        vl.verify(Made().commit(recorded_at=vl.NONE + 1).commit(recorded_at=-5).commit(recorded_at=0).files())

    def test_each_rule_of_the_entries(self):
        good = event([key(1)], b"x")
        self.refused("event count 0 is not in", count=0)
        self.refused("event count 4097 is not in", count=4097)
        self.refused("the frame ends before its last event", events=[good, good], entries=entry(good), position=2)
        self.refused("runs beyond its frame", entries=entry(good, len(good) + 1))
        self.refused("5 bytes are left in the frame", entries=entry(good) + bytes(5), position=2)
        self.refused("bytes are left in the frame", events=[good], entries=entry(good) * 2, position=2)
        short = event([key(1)])[:17]
        self.refused("fewer than 18", entries=entry(short) + entry(good))
        self.refused("key count 0 is not in", events=[event([], bytes(40))])
        self.refused("key count 4097 is not in", events=[event([key(n) for n in range(4097)])])
        self.refused("2 keys are more than the event's 33 bytes hold", events=[event([key(1)], bytes(15), count=2)])
        self.refused("not strictly ascending", events=[event([key(2), key(1)])])
        self.refused("not strictly ascending", events=[event([key(1), key(1)])])
        self.refused("not strictly ascending", events=[good, event([key(1), key(9), key(3)])], position=2)

    def test_the_frame_itself(self):
        self.refused("wrong magic of a frame", magic=b"LTF2")
        self.refused("is not in 122..=900000", events=[event([key(1)])], entries=bytes(21))
        big = 900_000 - vl.ENTRIES_AT - 4 - vl.EVENT_MIN
        vl.verify(Made().commit(events=[event([key(1)], bytes(big))]).files())
        self.refused("is not in 122..=900000", events=[event([key(1)], bytes(big + 1))])

    def test_the_greatest_counts_are_accepted(self):
        many = [event([key(1)])] * 4096
        self.assertEqual(vl.verify(Made().commit(events=many).commit().files())["events"], 4097)
        wide = [event([key(n) for n in range(4096)])]
        self.assertEqual(vl.verify(Made().commit(events=wide).files())["keys"], 4096)

    def test_numbers_beyond_their_limits(self):
        def header(number, first, chain):
            packed = vl.COMMIT_HEADER.pack(1, LEDGER, number, first, 2, 1, 5, vl.ZERO_32)
            return vl.check_commit_header("f", 0, bytes(12) + packed, LEDGER, chain)

        chain = vl.START._replace(commit=2**63 - 2, next_position=2**63 - 2)
        self.assertEqual(header(2**63 - 1, 2**63 - 2, chain), (2, 1, 5))
        for beyond in (chain._replace(commit=2**63 - 1), chain._replace(next_position=2**63 - 1)):
            with self.assertRaisesRegex(vl.Damage, "beyond (its|their) limit"):
                header(beyond.commit + 1, beyond.next_position, beyond)

    def test_slots_that_name_another_state_are_found(self):
        made = Made().commit().commit()
        right = made.slot
        for field in vl.Slot._fields:
            value = getattr(right, field)
            made.slot = right._replace(**{field: b"\1" * 32 if field == "hash" else value - 1})
            damage = damage_of(made.files())
            self.assertEqual((damage.file, damage.commit), ("head", None), field)
            self.assertIn("slot 0", damage.reason)
        made.slot = right._replace(commit=3)
        damage = damage_of(made.files())
        self.assertEqual((damage.file, damage.offset, damage.commit), (vl.segment_name(1), right.end, 3))
        self.assertIn("the chain ends with commit 2", damage.reason)
        for field, value in (("next_position", 1), ("segment", 0), ("start", 0), ("end", 97), ("recorded_at", 0)):
            made.slot = vl.NOTHING_RECORDED._replace(**{field: value})
            self.assertIn("of commit 0 is", damage_of(made.files()).reason)

    def test_a_head_of_another_ledger_is_found(self):
        files = Made().commit().files()
        files["head"] = Made().commit().files(ledger=bytes(16))["head"]
        self.assertIn("another ledger id", damage_of(files).reason)

    def test_a_newer_version_is_named_wherever_it_stands(self):
        def newer(data, start, length, crc_at):
            data = data[: start + 11] + b"\2" + data[start + 12 :]
            crc = struct.pack(">I", zlib.crc32(data[start : start + length]))
            return data[: start + crc_at] + crc + data[start + crc_at + 4 :]

        for name, length in ((SEGMENTS[1], 92), ("head", 508), ("keyring", len(FILES["keyring"]) - 4), (INDEXES[0], 4092)):
            damage = damage_of({**FILES, name: newer(FILES[name], 0, length, length)})
            self.assertEqual(damage.file, name)
            self.assertIn("format version 2 is unknown, this program knows version 1", damage.reason)

    def test_each_rule_of_the_keyring(self):
        records = [(key(1), 1, 5, b"\7" * 32), (key(2), 2, 6, vl.ZERO_32)]

        def keyring(records, ledger=LEDGER, count=None):
            count = len(records) if count is None else count
            data = vl.KEYRING_HEAD.pack(b"LOTLKEYS", 1, ledger, count)
            data += b"".join(vl.KEY_RECORD.pack(*r) for r in records)
            return data + struct.pack(">I", zlib.crc32(data))

        files = Made().commit().files()
        self.assertEqual(vl.verify({**files, "keyring": keyring(records)})["keys_erased"], 1)
        self.assertEqual(vl.verify({**files, "keyring": keyring([])})["keys_present"], 0)
        for data, reason in (
            (keyring(records[::-1]), "not strictly ascending"),
            (keyring(records[:1] * 2), "not strictly ascending"),
            (keyring(records, bytes(16)), "another ledger id"),
            (keyring(records, count=1), "1 records do not make"),
            (keyring([(key(1), 3, 5, vl.ZERO_32)]), "state 3 of a key is unknown"),
            (keyring([(key(1), 2, 5, b"\1" * 32)]), "the secret of an erased key is not zero"),
            (b"", "ends within its header"),
        ):
            self.assertIn(reason, damage_of({**files, "keyring": data}).reason)


class CommandLine(unittest.TestCase):
    def run_it(self, *arguments):
        command = [sys.executable, os.path.join(HERE, "verify_ledger.py"), *arguments]
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False)
        return done.returncode, done.stdout.decode()

    def test_exit_codes_and_answers(self):
        code, out = self.run_it(os.path.join(VECTORS, "ledger"), "--json")
        self.assertEqual((code, json.loads(out)["root"]), (0, EXPECTED["root"]))
        code, out = self.run_it(os.path.join(VECTORS, "ledger"))
        self.assertEqual(code, 0)
        self.assertIn(EXPECTED["root"], out)
        with tempfile.TemporaryDirectory() as folder:
            copy = os.path.join(folder, "ledger")
            shutil.copytree(os.path.join(VECTORS, "ledger"), copy)
            with open(os.path.join(copy, OPEN), "wb") as file:
                file.write(flipped(FILES[OPEN], 300, 1))
            code, out = self.run_it(copy, "--json")
            damage = json.loads(out)["damage"]
            self.assertEqual((code, damage["file"], damage["commit"], damage["position"]), (1, OPEN, 7, 27))
            self.assertEqual(self.run_it(os.path.join(folder, "none"))[0], 2)
        self.assertEqual(self.run_it()[0], 2)


if __name__ == "__main__":
    unittest.main(verbosity=2)
