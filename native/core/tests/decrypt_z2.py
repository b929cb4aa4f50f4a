#!/usr/bin/env python3
"""Decrypt an encrypted backup file (….enc), in either of its formats, Z2 or Z1.

This is an independent second implementation, for the tests and for the day when nothing else is at
hand. It was written from docs/encryption-format.md alone, without a look at any other source.

    pip install cryptography argon2-cffi
    python3 decrypt_z2.py PASSWORD_FILE IN OUT

OUT is the gzip file that was sealed. It is written as OUT.part and renamed once all of it has been
proven. Otherwise one line on stderr says why, beginning with `truncated:`, `damaged:`, `refused:`
(exit 4) or `wrong password:` (exit 3), and no output is left.

Z1 has no integrity: there "proven" only means that the CRCs of the gzip inside are right.
"""
import hashlib
import hmac
import os
import struct
import sys
import zlib

from argon2.exceptions import HashingError
from argon2.low_level import Type, hash_secret_raw
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

try:
    from cryptography.hazmat.decrepit.ciphers.modes import CFB8
except ImportError:
    from cryptography.hazmat.primitives.ciphers.modes import CFB8

MAX_CHUNK = 2 * 1024 * 1024 + 16


class Refusal(Exception):
    """Its message is the line on stderr."""


def z2_chunk_key(password, header):
    """The header's checks, in the order of the page; gives the chunk key."""
    if len(header) < 134:
        raise Refusal("truncated: the file ends inside its header")
    # The context, 32 bytes at 62, is for whoever has a catalog of backups.
    m, t, p, password_salt, file_salt, tag, checksum = struct.unpack("<2xIII16s32s32x32s8s", header)
    if hashlib.sha256(header[:126]).digest()[:8] != checksum:
        raise Refusal("damaged: the header does not match its checksum")
    if not (1 <= t <= 16 and 1 <= p <= 16 and 8 * p <= m <= 262_144 and m * t <= 1_048_576):
        raise Refusal(f"refused: Argon2 parameters out of bounds (m={m}, t={t}, p={p})")
    try:
        root = hash_secret_raw(password, password_salt, time_cost=t, memory_cost=m, parallelism=p,
                               hash_len=32, type=Type.ID, version=0x13)
    except HashingError as e:
        raise Refusal(f"refused: Argon2 could not run (m={m} KiB): {e}")
    hkdf = lambda info: HKDF(SHA256(), 32, salt=file_salt, info=info).derive(root)
    if not hmac.compare_digest(hmac.digest(hkdf(b"zbackup Z2 header"), header[:94], "sha256"), tag):
        raise Refusal("wrong password: it does not open this file")
    return hkdf(b"zbackup Z2 chunks")


def opens(aead, i, last, sealed):
    """The plaintext of chunk i, or None if it does not authenticate."""
    try:
        return aead.decrypt(i.to_bytes(11, "big") + (b"\x01" if last else b"\x00"), sealed, None)
    except InvalidTag:
        return None


def decrypt_z2(password, src):
    aead = AESGCM(z2_chunk_key(password, b"Z2" + src.read(132)))
    i, ahead = 0, src.read(1)                # one byte ahead: is there anything after this chunk?
    while True:
        field = ahead + src.read(4 - len(ahead))
        if len(field) < 4:
            raise Refusal(f"truncated: the file ends before chunk {i}, without a last chunk")
        length = int.from_bytes(field, "little")
        if not 16 <= length <= MAX_CHUNK:
            raise Refusal(f"damaged: chunk {i} has an impossible length")
        sealed = src.read(length)
        if len(sealed) < length:
            raise Refusal(f"truncated: the file ends inside chunk {i}")
        ahead = src.read(1)
        last = not ahead
        plaintext = opens(aead, i, last, sealed)
        if plaintext is None:                # only to say it well: is it good, in the other role?
            if opens(aead, i, not last, sealed) is None:
                raise Refusal(f"damaged: chunk {i} does not authenticate")
            raise Refusal(f"truncated: the file ends after chunk {i}, which is not the last" if last
                          else f"damaged: data was appended after the last chunk, {i}")
        yield plaintext
        if last:
            return
        i += 1


def decrypt_z1(password, src):
    header = src.read(52)
    if len(header) < 52:
        raise Refusal("truncated: the file ends inside its header")
    iterations, salt, sealed = struct.unpack("<I16s32s", header)
    if not 1 <= iterations <= 20_000_000:
        raise Refusal(f"refused: {iterations} PBKDF2 iterations")
    material = hashlib.pbkdf2_hmac("sha256", password, salt, iterations, 48)
    cfb = Cipher(algorithms.AES(material[16:]), CFB8(material[:16])).decryptor()
    if not hmac.compare_digest(cfb.update(sealed), hmac.digest(password, salt + password, "sha256")):
        raise Refusal("wrong password: it does not open this file (or its header is damaged)")
    member = None                            # the gzip member we are in: only to check its CRC
    while block := src.read(65536):
        plaintext = rest = cfb.update(block)
        while rest:
            member = member or zlib.decompressobj(wbits=31)
            try:
                member.decompress(rest, 1 << 20)
            except zlib.error as e:
                raise Refusal(f"damaged: the gzip inside is not whole ({e})")
            rest = member.unused_data if member.eof else member.unconsumed_tail
            member = False if member.eof else member
        yield plaintext
    if member is not False:
        raise Refusal("truncated: the gzip inside is not whole")


def decrypt(password, src):
    magic = src.read(2)
    if magic == b"Z2":
        return decrypt_z2(password, src)
    if magic == b"Z1":
        return decrypt_z1(password, src)
    raise Refusal("truncated: the file is shorter than 2 bytes" if magic in (b"", b"Z")
                  else "refused: neither a Z2 nor a Z1 file")


def main(password_file, source, target):
    with open(password_file, "rb") as f:
        password = f.read()
    if password.endswith(b"\n"):
        password = password[:-2] if password.endswith(b"\r\n") else password[:-1]
    part = target + ".part"
    try:
        with open(source, "rb") as src, open(part, "wb") as out:
            for plaintext in decrypt(password, src):
                out.write(plaintext)
        os.replace(part, target)
    except BaseException as e:
        if os.path.exists(part):
            os.remove(part)
        if not isinstance(e, Refusal):
            raise
        print(e, file=sys.stderr)
        return 3 if str(e).startswith("wrong password") else 4
    return 0


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit("usage: decrypt_z2.py PASSWORD_FILE IN OUT")
    os.umask(0o077)                          # what is decrypted is for its owner alone
    sys.exit(main(*sys.argv[1:]))
