#!/usr/bin/env python3
"""Seal a file in format Z1, as Zotonic's own module does: for the tests, never for a backup.

Written from docs/encryption-format.md alone.

    python3 seal_z1.py PASSWORD_FILE IN OUT [ITERATIONS]        (600000 unless told)
"""
import hashlib
import hmac
import os
import struct
import sys

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms

try:
    from cryptography.hazmat.decrepit.ciphers.modes import CFB8
except ImportError:
    from cryptography.hazmat.primitives.ciphers.modes import CFB8


def main(password_file, source, target, iterations="600000"):
    with open(password_file, "rb") as f:
        password = f.read()
    if password.endswith(b"\n"):
        password = password[:-2] if password.endswith(b"\r\n") else password[:-1]
    salt = os.urandom(16)
    material = hashlib.pbkdf2_hmac("sha256", password, salt, int(iterations), 48)
    cfb = Cipher(algorithms.AES(material[16:]), CFB8(material[:16])).encryptor()
    with open(source, "rb") as src, open(target, "wb") as out:
        out.write(b"Z1" + struct.pack("<I", int(iterations)) + salt)
        out.write(cfb.update(hmac.digest(password, salt + password, "sha256")))
        while block := src.read(65536):
            out.write(cfb.update(block))


if __name__ == "__main__":
    if len(sys.argv) not in (4, 5):
        sys.exit("usage: seal_z1.py PASSWORD_FILE IN OUT [ITERATIONS]")
    main(*sys.argv[1:])
