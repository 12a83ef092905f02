"""Who made a bundle: Ed25519 signatures (RFC 8032) over the bytes of its manifest, which hashes every other file.

The signature is a file of its own beside the manifest, the 64 bytes that ``openssl pkeyutl -sign -rawin`` writes too.
Keys are PEM files as ``openssl genpkey -algorithm ed25519`` and ``openssl pkey -pubout`` make them.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from lilliput import folders
from lilliput.errors import ConfigError, IntegrityError, MissingDependencyError
from lilliput.manifest import MANIFEST

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

SIGNATURE = f"{MANIFEST}.sig"
LENGTH = 64
"""Bytes of a signature."""
_KEY_LIMIT = 1 << 16  # bytes; a key has some 120


def sign(bundle: Path, key: Path) -> Path:
    """Sign a bundle: write ``lilliput.json.sig`` beside its manifest, in place of one that is there.

    Every listed file is hashed before, so that nothing is signed that is not whole.

    Args:
        bundle: folder of the bundle.
        key: PEM file with a private Ed25519 key.

    Returns:
        The path of the signature.

    Raises:
        BundleError: there is no bundle at ``bundle``.
        IntegrityError: a file of it differs from the manifest.
        ConfigError: ``key`` is no such key.
        MissingDependencyError: the cryptography package is not installed.
    """
    from lilliput.bundle import Bundle

    private = _private_key(key)
    opened = Bundle.open(bundle)
    for name in opened.manifest.files:
        opened.read(name)
    raw = folders.read_plain(bundle, MANIFEST, size=opened.manifest_size)
    path, temporary = bundle / SIGNATURE, bundle / f".{SIGNATURE}.tmp"
    temporary.unlink(missing_ok=True)
    temporary.write_bytes(private.sign(raw))
    folders.fsync(temporary)
    temporary.replace(path)
    folders.fsync(bundle)
    return path


def check_private_key(key: Path | None) -> None:
    """Raise, before long work, what `sign` would raise for a key; None is no key.

    Raises:
        ConfigError: ``key`` is no private Ed25519 key.
        MissingDependencyError: the cryptography package is not installed.
    """
    if key is not None:
        _private_key(key)


def check(bundle: Path, manifest: bytes, key: Path) -> None:
    """Refuse a bundle whose manifest was not signed with the private half of ``key``. Nothing of it is parsed.

    Args:
        bundle: folder of the bundle.
        manifest: the bytes of its manifest, as they were read.
        key: PEM file with a public Ed25519 key.

    Raises:
        IntegrityError: there is no signature, it is malformed, or it was made with another key or for another manifest.
        ConfigError: ``key`` is no such key.
        MissingDependencyError: the cryptography package is not installed.
    """
    public = _public_key(key)
    path = bundle / SIGNATURE
    if not path.exists() and not path.is_symlink():
        raise IntegrityError(f"{path}: missing; this bundle is not signed, and a signature by {key} is required")
    signature = folders.read_plain(bundle, SIGNATURE, limit=1 << 16)
    if len(signature) != LENGTH:
        raise IntegrityError(f"{path}: {len(signature):,} bytes, but an Ed25519 signature has {LENGTH}")
    try:
        public.verify(signature, manifest)
    except _invalid() as error:
        raise IntegrityError(
            f"{path}: not made with the key of {key}, or {MANIFEST} was changed since; don't use this bundle"
        ) from error


def _private_key(path: Path) -> Ed25519PrivateKey:
    serialization, ed25519 = _library()
    data = _read(path)
    try:
        found = serialization.load_pem_private_key(data, password=None)
    except TypeError as error:
        raise ConfigError(
            f"{path}: this key needs a passphrase; write it without: openssl pkey -in {path} -out FILE"
        ) from error
    except Exception as error:  # ValueError, or the library's own UnsupportedAlgorithm
        raise ConfigError(
            f"{path}: no private key in PEM format; make one: openssl genpkey -algorithm ed25519 -out FILE"
        ) from error
    if not isinstance(found, ed25519.Ed25519PrivateKey):
        raise ConfigError(f"{path}: a {type(found).__name__}; make one: openssl genpkey -algorithm ed25519 -out FILE")
    return found


def _public_key(path: Path) -> Ed25519PublicKey:
    serialization, ed25519 = _library()
    data = _read(path)
    if b"PRIVATE KEY" in data:
        raise ConfigError(
            f"{path}: a private key, which must stay secret; give the public one: openssl pkey -in {path} -pubout "
            "-out FILE"
        )
    try:
        found = serialization.load_pem_public_key(data)
    except Exception as error:  # ValueError, or the library's own UnsupportedAlgorithm
        raise ConfigError(
            f"{path}: no public key in PEM format; get it of a private one: openssl pkey -in KEY -pubout -out FILE"
        ) from error
    if not isinstance(found, ed25519.Ed25519PublicKey):
        raise ConfigError(f"{path}: a {type(found).__name__}, but bundles are signed with Ed25519")
    return found


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(_KEY_LIMIT)
    except OSError as error:
        raise ConfigError(f"{path}: can't be read: {error.strerror}") from error


def _invalid() -> type[Exception]:
    """What a signature that is wrong raises; the library is there, for a key was read."""
    try:
        from cryptography.exceptions import InvalidSignature
    except ImportError:
        return Exception
    return InvalidSignature


def _library() -> tuple[Any, Any]:
    try:
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric import ed25519
    except ImportError as error:
        raise MissingDependencyError(
            "signatures need the cryptography package: pip install '.[sign]' in Lilliput's folder"
        ) from error
    return serialization, ed25519
