#!/usr/bin/env python3
"""A decoder of the delta stream, written from docs/delta-stream.md alone.

    delta.py DISK < stream

applies a stream to a file and prints its header and totals as JSON. Nothing but the standard
library; packed frames are not read.
"""

import json
import os
import struct
import sys


def crc_table():
    table = []
    for byte in range(256):
        for _ in range(8):
            byte = byte >> 1 ^ (0x82F63B78 if byte & 1 else 0)
        table.append(byte)
    return table


TABLE = crc_table()


def crc32c(data, before=0):
    crc = before ^ 0xFFFFFFFF
    for byte in data:
        crc = TABLE[(crc ^ byte) & 0xFF] ^ crc >> 8
    return crc ^ 0xFFFFFFFF


class Invalid(Exception):
    pass


def need(condition, what):
    if not condition:
        raise Invalid(what)


def read(stream, count):
    data = stream.read(count)
    need(len(data) == count, "cut off")
    return data


def apply(stream, disk):
    """Applies a stream to a file, opened for writing."""
    fixed = read(stream, 16)
    magic, version, zero, length = struct.unpack("<8sHHI", fixed)
    need(magic == b"OVMDELTA" and version == 1 and zero == 0 and length <= 65536, "no delta")
    text = read(stream, length)
    (checksum,) = struct.unpack("<I", read(stream, 4))
    need(checksum == crc32c(fixed + text), "header damaged")
    header = json.loads(text.decode("utf-8"))
    size, tiles = header["size"], header["base"] is None
    end = header.get("to")
    end = size if end is None else end
    need(header["from"] <= end <= size, "bounds")
    position, frames, data_bytes, zero_bytes = header["from"], 0, 0, 0
    chain = crc32c(struct.pack("<I", checksum))
    while True:
        head = read(stream, 32)
        kind, packing, zero, stored, offset, length, number, checksum = struct.unpack(
            "<BBHIQQII", head
        )
        need(zero == 0 and number == frames % 2**32, "frame missing")
        need(stored <= 1048576, "payload too long")
        payload = read(stream, stored)
        need(checksum == crc32c(payload, crc32c(head[:28])), "frame damaged")
        need(packing == 0, "packed")
        if kind == 3:
            need((offset, length, stored) == (0, 0, 40), "end")
            totals = struct.unpack("<QQQQII", payload)
            need(totals[:3] == (frames, data_bytes, zero_bytes), "totals")
            need(totals[4:] == (chain, 0), "chain")
            need(not tiles or position == end, "gap at the end")
            need(stream.read(1) == b"", "bytes after the end")
            disk.truncate(size)
            names = ("frames", "data", "zeros", "by_content")
            return header, dict(zip(names, totals))
        if kind == 4:
            raise Invalid(json.loads(payload.decode("utf-8"))["details"])
        need(position <= offset and offset + length <= end, "order")
        need(not tiles or offset == position, "gap")
        if kind == 1:
            need(1 <= length <= 1048576 and stored == length, "data")
            disk.seek(offset)
            disk.write(payload)
            data_bytes += length
        elif kind == 2:
            need(length >= 1 and stored == 0, "zero")
            disk.seek(offset)
            left = length
            while left:
                left -= disk.write(bytes(min(left, 1 << 20)))
            zero_bytes += length
        else:
            need(kind == 5 and length == 0 and stored == 0, "kind")
        position = offset + length
        chain = crc32c(struct.pack("<I", checksum), chain)
        frames += 1


def main():
    assert crc32c(b"123456789") == 0xE3069283
    with open(os.open(sys.argv[1], os.O_RDWR | os.O_CREAT, 0o600), "r+b", buffering=0) as disk:
        try:
            header, totals = apply(sys.stdin.buffer, disk)
        except Invalid as error:
            sys.exit("delta.py: %s" % error)
    json.dump({"header": header, "totals": totals}, sys.stdout)


if __name__ == "__main__":
    main()
