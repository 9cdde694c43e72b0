"""BLAKE3 with 32 bytes of output, in plain Python: `digest(data)` and `derive_key(context, material)`.

Slow (some megabytes a minute). It exists so that the ledger verifier runs on a bare Python 3.9. The
package `blake3` is taken by the verifier where it is installed.
"""

import functools
import struct

OUT_LEN = 32
BLOCK_LEN = 64
CHUNK_LEN = 1024

CHUNK_START = 1
CHUNK_END = 2
PARENT = 4
ROOT = 8
DERIVE_KEY_CONTEXT = 32
DERIVE_KEY_MATERIAL = 64

MASK = 0xFFFFFFFF

IV = (
    0x6A09E667,
    0xBB67AE85,
    0x3C6EF372,
    0xA54FF53A,
    0x510E527F,
    0x9B05688C,
    0x1F83D9AB,
    0x5BE0CD19,
)

PERMUTATION = (2, 6, 3, 10, 7, 0, 4, 13, 1, 11, 12, 5, 9, 14, 15, 8)


def _schedules():
    """Which message word each step of each of the seven rounds takes."""
    rows = [tuple(range(16))]
    for _ in range(6):
        rows.append(tuple(rows[-1][i] for i in PERMUTATION))
    return tuple(rows)


SCHEDULES = _schedules()

_WORDS_16 = struct.Struct("<16I")
_WORDS_8 = struct.Struct("<8I")


def compress(cv, block, counter, flags):
    """The first eight words of the compression of one block of at most 64 bytes."""
    m = _WORDS_16.unpack(block if len(block) == BLOCK_LEN else block.ljust(BLOCK_LEN, b"\0"))
    v0, v1, v2, v3, v4, v5, v6, v7 = cv
    v8, v9, v10, v11 = IV[:4]
    v12, v13, v14, v15 = counter & MASK, counter >> 32, len(block), flags
    # The mixing function is written out eight times a round: a call each would triple the time.
    for s in SCHEDULES:
        v0 = (v0 + v4 + m[s[0]]) & MASK
        v12 ^= v0
        v12 = (v12 >> 16) | (v12 << 16) & MASK
        v8 = (v8 + v12) & MASK
        v4 ^= v8
        v4 = (v4 >> 12) | (v4 << 20) & MASK
        v0 = (v0 + v4 + m[s[1]]) & MASK
        v12 ^= v0
        v12 = (v12 >> 8) | (v12 << 24) & MASK
        v8 = (v8 + v12) & MASK
        v4 ^= v8
        v4 = (v4 >> 7) | (v4 << 25) & MASK
        v1 = (v1 + v5 + m[s[2]]) & MASK
        v13 ^= v1
        v13 = (v13 >> 16) | (v13 << 16) & MASK
        v9 = (v9 + v13) & MASK
        v5 ^= v9
        v5 = (v5 >> 12) | (v5 << 20) & MASK
        v1 = (v1 + v5 + m[s[3]]) & MASK
        v13 ^= v1
        v13 = (v13 >> 8) | (v13 << 24) & MASK
        v9 = (v9 + v13) & MASK
        v5 ^= v9
        v5 = (v5 >> 7) | (v5 << 25) & MASK
        v2 = (v2 + v6 + m[s[4]]) & MASK
        v14 ^= v2
        v14 = (v14 >> 16) | (v14 << 16) & MASK
        v10 = (v10 + v14) & MASK
        v6 ^= v10
        v6 = (v6 >> 12) | (v6 << 20) & MASK
        v2 = (v2 + v6 + m[s[5]]) & MASK
        v14 ^= v2
        v14 = (v14 >> 8) | (v14 << 24) & MASK
        v10 = (v10 + v14) & MASK
        v6 ^= v10
        v6 = (v6 >> 7) | (v6 << 25) & MASK
        v3 = (v3 + v7 + m[s[6]]) & MASK
        v15 ^= v3
        v15 = (v15 >> 16) | (v15 << 16) & MASK
        v11 = (v11 + v15) & MASK
        v7 ^= v11
        v7 = (v7 >> 12) | (v7 << 20) & MASK
        v3 = (v3 + v7 + m[s[7]]) & MASK
        v15 ^= v3
        v15 = (v15 >> 8) | (v15 << 24) & MASK
        v11 = (v11 + v15) & MASK
        v7 ^= v11
        v7 = (v7 >> 7) | (v7 << 25) & MASK
        v0 = (v0 + v5 + m[s[8]]) & MASK
        v15 ^= v0
        v15 = (v15 >> 16) | (v15 << 16) & MASK
        v10 = (v10 + v15) & MASK
        v5 ^= v10
        v5 = (v5 >> 12) | (v5 << 20) & MASK
        v0 = (v0 + v5 + m[s[9]]) & MASK
        v15 ^= v0
        v15 = (v15 >> 8) | (v15 << 24) & MASK
        v10 = (v10 + v15) & MASK
        v5 ^= v10
        v5 = (v5 >> 7) | (v5 << 25) & MASK
        v1 = (v1 + v6 + m[s[10]]) & MASK
        v12 ^= v1
        v12 = (v12 >> 16) | (v12 << 16) & MASK
        v11 = (v11 + v12) & MASK
        v6 ^= v11
        v6 = (v6 >> 12) | (v6 << 20) & MASK
        v1 = (v1 + v6 + m[s[11]]) & MASK
        v12 ^= v1
        v12 = (v12 >> 8) | (v12 << 24) & MASK
        v11 = (v11 + v12) & MASK
        v6 ^= v11
        v6 = (v6 >> 7) | (v6 << 25) & MASK
        v2 = (v2 + v7 + m[s[12]]) & MASK
        v13 ^= v2
        v13 = (v13 >> 16) | (v13 << 16) & MASK
        v8 = (v8 + v13) & MASK
        v7 ^= v8
        v7 = (v7 >> 12) | (v7 << 20) & MASK
        v2 = (v2 + v7 + m[s[13]]) & MASK
        v13 ^= v2
        v13 = (v13 >> 8) | (v13 << 24) & MASK
        v8 = (v8 + v13) & MASK
        v7 ^= v8
        v7 = (v7 >> 7) | (v7 << 25) & MASK
        v3 = (v3 + v4 + m[s[14]]) & MASK
        v14 ^= v3
        v14 = (v14 >> 16) | (v14 << 16) & MASK
        v9 = (v9 + v14) & MASK
        v4 ^= v9
        v4 = (v4 >> 12) | (v4 << 20) & MASK
        v3 = (v3 + v4 + m[s[15]]) & MASK
        v14 ^= v3
        v14 = (v14 >> 8) | (v14 << 24) & MASK
        v9 = (v9 + v14) & MASK
        v4 ^= v9
        v4 = (v4 >> 7) | (v4 << 25) & MASK
    return (
        v0 ^ v8,
        v1 ^ v9,
        v2 ^ v10,
        v3 ^ v11,
        v4 ^ v12,
        v5 ^ v13,
        v6 ^ v14,
        v7 ^ v15,
    )


def _last_of_chunk(key, chunk, index, flags):
    """The arguments of the chunk's last compression: the root needs them with one flag more."""
    cv = key
    start = CHUNK_START
    at = 0
    while len(chunk) - at > BLOCK_LEN:
        cv = compress(cv, chunk[at : at + BLOCK_LEN], index, flags | start)
        start = 0
        at += BLOCK_LEN
    return cv, chunk[at:], index, flags | start | CHUNK_END


def _hash(key, data, flags):
    chunks = max(1, -(-len(data) // CHUNK_LEN))
    # Chaining values of complete subtrees, the largest first, as the bits of the chunk count.
    stack = []
    for index in range(chunks):
        last = _last_of_chunk(key, data[index * CHUNK_LEN : (index + 1) * CHUNK_LEN], index, flags)
        if index + 1 == chunks:
            break
        cv = compress(*last)
        done = index + 1
        while done & 1 == 0:
            cv = compress(key, _WORDS_16.pack(*stack.pop(), *cv), 0, flags | PARENT)
            done >>= 1
        stack.append(cv)
    while stack:
        right = compress(*last)
        last = (key, _WORDS_16.pack(*stack.pop(), *right), 0, flags | PARENT)
    cv, block, _, last_flags = last
    return _WORDS_8.pack(*compress(cv, block, 0, last_flags | ROOT))


def digest(data):
    """The 32-byte BLAKE3 hash of some bytes."""
    return _hash(IV, bytes(data), 0)


@functools.lru_cache(maxsize=16)
def _context_key(context):
    return _WORDS_8.unpack(_hash(IV, context.encode("utf-8"), DERIVE_KEY_CONTEXT))


def derive_key(context, material):
    """32 bytes of BLAKE3 in its key derivation mode."""
    return _hash(_context_key(context), bytes(material), DERIVE_KEY_MATERIAL)
