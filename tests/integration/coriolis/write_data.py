"""What runs on a worker: messages come on standard input, and are acknowledged on standard output.

Written to the format: little-endian number, length, length once unpacked (0: not packed); then path, zero,
u64 offset, bytes. Length 0 is the end. Exit code 15 for a write past the end of the device.
"""

import os
import struct
import sys
import zlib


def read(count):
    data = sys.stdin.buffer.read(count)
    if len(data) < count:
        sys.exit(11)
    return data


def acknowledge(number):
    sys.stdout.buffer.write(struct.pack("<I", number))
    sys.stdout.buffer.flush()


while True:
    number, length = struct.unpack("<II", read(8))
    if length == 0:
        acknowledge(number)
        sys.exit(0)
    (unpacked,) = struct.unpack("<I", read(4))
    if length > 100 << 20:
        sys.exit(2)
    payload = read(length)
    if unpacked:
        payload = zlib.decompress(payload)
        if len(payload) != unpacked:
            sys.exit(13)
    path, rest = payload.split(b"\0", 1)
    (offset,) = struct.unpack("<Q", rest[:8])
    data = rest[8:]
    try:
        device = os.open(path, os.O_RDWR)
    except OSError:
        sys.exit(3)
    if offset + len(data) > os.lseek(device, 0, os.SEEK_END):
        sys.exit(15)
    os.lseek(device, offset, os.SEEK_SET)
    while data:
        data = data[os.write(device, data) :]
    os.close(device)
    acknowledge(number)
