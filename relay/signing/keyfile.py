"""One private key in a file: made, written, read. PEM without passphrase, for the owner alone, never overwritten.

The owner is the user Postlane runs as, also where root made the key: whoever owns the folder.
"""

import os
from contextlib import suppress
from pathlib import Path

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from relay.durable import sync
from relay.signing.entries import KeyProblem, KeysError

PrivateKey = RSAPrivateKey | Ed25519PrivateKey

RSA = "rsa-sha256"
ED25519 = "ed25519-sha256"
PADDING = PKCS1v15()  # RFC 6376 3.3
WEAKEST = 1024  # bits; verifiers must not accept less (RFC 8301 3.2)
STRONG = 2048  # bits; what signers should use (RFC 8301 3.2)


def new_private_key(algorithm: str) -> PrivateKey:
    """`algorithm` is RSA or ED25519."""
    if algorithm == ED25519:
        return Ed25519PrivateKey.generate()
    return generate_private_key(public_exponent=65537, key_size=STRONG)  # 65537: what every verifier takes (RFC 8301)


def algorithm_of(private: PrivateKey) -> str:
    """The a= value of its signatures (RFC 6376 3.3, 8463)."""
    return RSA if isinstance(private, RSAPrivateKey) else ED25519


def write_private_key(file: Path, private: PrivateKey) -> None:
    """PKCS#8 without passphrase, for the owner alone, on disk when it returns. Raises FileExistsError.

    Written under a hidden name and then linked: it appears whole, and link() never overwrites.
    """
    make_folder(file.parent)
    draft = file.with_name(f".{file.name}.{os.getpid()}")
    draft.unlink(missing_ok=True)  # left by a crash of an earlier process of this number
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as out:
        out.write(private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        hand_over(out.fileno(), file.parent)
        out.flush()
        os.fsync(out.fileno())
    try:
        os.link(draft, file)
    finally:
        draft.unlink()
    sync(file.parent)


def parse_private_key(pem: bytes, file: Path) -> PrivateKey:
    """RSA of 1024 bits or more, or Ed25519. Raises KeysError that names `file`, what was found, and the cure.

    OpenSSL's own check of an RSA key takes 25 ms, which a reload with a hundred domains would feel; a signature made
    and verified takes a hundredth of that and shows what matters: that the parts of the key fit together.
    """
    try:
        private = load_pem_private_key(pem, None, unsafe_skip_rsa_key_validation=True)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise KeysError([KeyProblem(file, _foreign(pem, file))]) from error
    if isinstance(private, Ed25519PrivateKey):
        return private
    if not isinstance(private, RSAPrivateKey):
        kind = type(private).__name__.strip("_").removesuffix("PrivateKey")
        raise KeysError([KeyProblem(file, f"holds a key of kind {kind}; DKIM knows RSA and Ed25519 (RFC 6376, 8463)")])
    if private.key_size < WEAKEST:
        message = f"RSA of {private.key_size} bits: verifiers refuse less than {WEAKEST} (RFC 8301); make a new key"
        raise KeysError([KeyProblem(file, message)])
    try:
        private.public_key().verify(private.sign(b"", PADDING, SHA256()), b"", PADDING, SHA256())
    except (InvalidSignature, ValueError) as error:
        raise KeysError([KeyProblem(file, "is damaged: its own signatures fail; bring back a good copy")]) from error
    return private


_FORMATS = (
    (b"ENCRYPTED", "is encrypted; take the passphrase off: openssl pkey -in {file} -out NEW"),
    (b"BEGIN OPENSSH PRIVATE KEY", "is an OpenSSH key; convert a copy: ssh-keygen -p -m PKCS8 -N '' -f COPY"),
    (b"BEGIN CERTIFICATE", "is a certificate; the private key is wanted"),
    (b"PUBLIC KEY", "is a public key; the private key is wanted"),
)


def _foreign(pem: bytes, file: Path) -> str:
    for mark, message in _FORMATS:
        if mark in pem:
            return message.format(file=file)
    return "is no private key in PEM form; convert it (openssl pkey -inform DER), or make one: postlane keys generate"


def throwaway_key(file: Path) -> PrivateKey:
    """The sandbox's key: made by whoever comes first, then kept and shared by all workers. Raises KeysError."""
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        with suppress(FileExistsError):  # another worker was first; its key it is
            write_private_key(file, new_private_key(RSA))
    return parse_private_key(file.read_bytes(), file)


def throwaway_key_of(file: Path) -> PrivateKey:
    """The same for who only looks: where the sandbox has none yet, or we may not read it, one like it. Raises KeysError."""
    try:
        return parse_private_key(file.read_bytes(), file)
    except OSError:
        return new_private_key(RSA)


def make_folder(folder: Path) -> None:
    """Unless it is there."""
    with suppress(FileExistsError):
        folder.mkdir(mode=0o755)
        hand_over(folder, folder.parent)


def hand_over(made: int | Path, folder: Path) -> None:
    """What root just made (an open file, or a directory) gets the owner of the folder it is in, who is to read it.

    Never through a name that the owner of the folder could point elsewhere meanwhile.
    """
    if os.geteuid() == 0:
        owner = folder.stat()
        os.chown(made, owner.st_uid, owner.st_gid, follow_symlinks=isinstance(made, int))
