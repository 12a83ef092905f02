"""Signatures: made here or by OpenSSL, checked before the manifest is parsed, and every way in which they fail."""

import shutil
import subprocess
import sys

import pytest
from typer.testing import CliRunner

import lilliput
from lilliput import cli, signatures
from lilliput.bundle import MANIFEST, Bundle, verify, write_manifest
from lilliput.errors import BundleError, ConfigError, IntegrityError, MissingDependencyError

pytest.importorskip("cryptography")

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa

PEM = serialization.Encoding.PEM
PKCS8 = serialization.PrivateFormat.PKCS8
SPKI = serialization.PublicFormat.SubjectPublicKeyInfo


@pytest.fixture
def keys(tmp_path):
    """Writes a pair of PEM files, as OpenSSL's commands do, and gives their paths."""

    def write(name, private=None, encryption=None):
        private = private or ed25519.Ed25519PrivateKey.generate()
        paths = tmp_path / f"{name}.pem", tmp_path / f"{name}.pub"
        paths[0].write_bytes(private.private_bytes(PEM, PKCS8, encryption or serialization.NoEncryption()))
        paths[1].write_bytes(private.public_key().public_bytes(PEM, SPKI))
        return paths

    return write


def test_a_signed_bundle_is_loaded_and_verified(keys, tiny_copy):
    key, public = keys("release")
    folder = tiny_copy()
    path = signatures.sign(folder, key)
    assert path == folder / f"{MANIFEST}.sig"
    assert path.stat().st_size == 64
    assert lilliput.load(folder, require_signature=public)("good")
    assert f"{path.name}: signed with the key of {public}" in verify(folder, require_signature=public)
    assert f"{path.name}: not checked, --require-signature does" in verify(folder)
    again = path.read_bytes()
    assert signatures.sign(folder, key).read_bytes() == again  # Ed25519 draws no random numbers


def test_the_signature_is_of_the_bytes_of_the_manifest(keys, small_bundle):
    key, public = keys("release")
    folder = small_bundle("one")
    made = signatures.sign(folder, key).read_bytes()
    serialization.load_pem_public_key(public.read_bytes()).verify(made, (folder / MANIFEST).read_bytes())


@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs the openssl command")
def test_openssl_makes_and_checks_the_same(small_bundle, tmp_path):
    def openssl(*words):
        return subprocess.run(["openssl", *words], cwd=tmp_path, capture_output=True, text=True, check=False)

    assert openssl("genpkey", "-algorithm", "ed25519", "-out", "key.pem").returncode == 0
    assert openssl("pkey", "-in", "key.pem", "-pubout", "-out", "key.pub").returncode == 0
    folder = small_bundle("one")
    manifest, signature = str(folder / MANIFEST), str(folder / signatures.SIGNATURE)
    signatures.sign(folder, tmp_path / "key.pem")
    ours = (folder / signatures.SIGNATURE).read_bytes()
    files = ("-rawin", "-in", manifest)
    checked = openssl("pkeyutl", "-verify", "-pubin", "-inkey", "key.pub", *files, "-sigfile", signature)
    assert "Verified Successfully" in checked.stdout
    assert openssl("pkeyutl", "-sign", "-inkey", "key.pem", *files, "-out", signature).returncode == 0
    assert (folder / signatures.SIGNATURE).read_bytes() == ours
    Bundle.open(folder, require_signature=tmp_path / "key.pub")


def test_every_way_to_fail(keys, small_bundle, tmp_path):
    key, public = keys("release")
    folder = small_bundle("one")
    with pytest.raises(IntegrityError, match=r"lilliput\.json\.sig: missing; this bundle is not signed"):
        Bundle.open(folder, require_signature=public)
    path = signatures.sign(folder, key)
    with pytest.raises(IntegrityError, match=r"lilliput\.json\.sig: not made with the key of .*other\.pub"):
        Bundle.open(folder, require_signature=keys("other")[1])
    whole = path.read_bytes()
    for wrong in (whole[:-1], whole + b"\n", b"", b"-----BEGIN"):
        path.write_bytes(wrong)
        with pytest.raises(IntegrityError, match=rf"{len(wrong)} bytes, but an Ed25519 signature has 64"):
            Bundle.open(folder, require_signature=public)
    path.write_bytes(bytes(64))
    with pytest.raises(IntegrityError, match="not made with the key"):
        Bundle.open(folder, require_signature=public)
    path.unlink()
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(IntegrityError, match="a symbolic link"):
        Bundle.open(folder, require_signature=public)


def test_a_changed_manifest_is_refused_before_it_is_parsed(keys, small_bundle):
    key, public = keys("release")
    folder = small_bundle("one")
    signatures.sign(folder, key)
    for raw in (b"not JSON", (folder / MANIFEST).read_bytes() + b"\n", b"[" * 100_000):
        (folder / MANIFEST).write_bytes(raw)
        with pytest.raises(IntegrityError, match=r"lilliput\.json was changed since"):
            Bundle.open(folder, require_signature=public)


def test_a_manifest_that_is_written_again_loses_its_signature(keys, tiny, small_bundle):
    key, _public = keys("release")
    folder = small_bundle("one")
    signatures.sign(folder, key)
    write_manifest(folder, **tiny.manifest_fields(folder, name="two"))
    assert not (folder / signatures.SIGNATURE).exists()


def test_what_is_not_whole_is_not_signed(keys, small_bundle, tmp_path):
    key, _ = keys("release")
    folder = small_bundle("one")
    (folder / "tokenizer.json").write_text("[]")
    with pytest.raises(IntegrityError, match=r"tokenizer\.json: changed"):
        signatures.sign(folder, key)
    assert not (folder / signatures.SIGNATURE).exists()
    with pytest.raises(BundleError, match="no such folder"):
        signatures.sign(tmp_path / "absent", key)


def test_keys_that_are_none(keys, small_bundle, tmp_path):
    folder = small_bundle("one")
    key, public = keys("release")
    signatures.sign(folder, key)
    locked, _ = keys("locked", encryption=serialization.BestAvailableEncryption(b"secret"))
    rsa_key, rsa_public = keys("rsa", rsa.generate_private_key(65537, 2048))
    (tmp_path / "text").write_text("ssh-ed25519 AAAA")
    for path, words in {
        locked: "needs a passphrase",
        rsa_key: "RSAPrivateKey; make one: openssl genpkey -algorithm ed25519",
        public: "no private key in PEM format",
        tmp_path / "text": "no private key in PEM format",
        tmp_path / "absent": "can't be read: No such file",
        tmp_path: "can't be read: Is a directory",
    }.items():
        with pytest.raises(ConfigError, match=words):
            signatures.sign(folder, path)
    for path, words in {
        key: "a private key, which must stay secret",
        rsa_public: "RSAPublicKey, but bundles are signed with Ed25519",
        tmp_path / "text": "no public key in PEM format",
        tmp_path / "absent": "can't be read",
    }.items():
        with pytest.raises(ConfigError, match=words):
            Bundle.open(folder, require_signature=path)


def test_without_the_library(keys, small_bundle, monkeypatch):
    key, public = keys("release")
    folder = small_bundle("one")
    signatures.sign(folder, key)
    for name in [name for name in sys.modules if name.split(".")[0] == "cryptography"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "cryptography", None)
    assert Bundle.open(folder)  # nobody asked
    with pytest.raises(MissingDependencyError, match=r"pip install '\.\[sign\]'"):
        Bundle.open(folder, require_signature=public)
    with pytest.raises(MissingDependencyError, match="cryptography"):
        signatures.sign(folder, key)


def test_the_command_line(keys, tiny_copy):
    key, public = keys("release")
    folder = tiny_copy()

    def run(*words):
        result = CliRunner().invoke(cli.app, list(map(str, words)))
        return result.exception or result.stdout

    assert isinstance(run("verify", folder, "--require-signature", public), IntegrityError)
    assert run("sign", folder, "--key", key) == f"signed: {folder / signatures.SIGNATURE}\n"
    assert "lilliput.json.sig: signed with the key of" in run("verify", folder, "--require-signature", public)
    assert isinstance(run("verify", folder, "--require-signature", keys("other")[1]), IntegrityError)
