"""Bundles that are signed as they are made."""

import pytest

from lilliput import signatures
from lilliput.bundle import verify
from lilliput.compress import quantize_bundle
from lilliput.config import ExportConfig, QuantizeConfig
from lilliput.errors import ConfigError
from lilliput.pipeline import export

pytest.importorskip("cryptography")

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519


@pytest.fixture(scope="module")
def keys(tmp_path_factory):
    place = tmp_path_factory.mktemp("keys")
    private = ed25519.Ed25519PrivateKey.generate()
    kinds = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (place / "key.pem").write_bytes(private.private_bytes(*kinds))
    public = private.public_key().public_bytes(kinds[0], serialization.PublicFormat.SubjectPublicKeyInfo)
    (place / "key.pub").write_bytes(public)
    return place / "key.pem", place / "key.pub"


def test_an_export_and_what_is_quantized_of_it_are_signed(encoders, tiny, tmp_path, keys):
    key, public = keys
    data, model = encoders.data_set(tmp_path / "data"), encoders.save(tmp_path / "model", "bert", tiny.tokenizer)
    common = {"data": str(data), "sign": key}
    settings = {"model": str(model), "precisions": ("fp32",), "max_length": 16, "out": tmp_path / "whole"}
    export(ExportConfig(**common, **settings))
    said = f"lilliput.json.sig: signed with the key of {public}"
    assert said in verify(tmp_path / "whole", require_signature=public)
    settings = {"model": str(tmp_path / "whole"), "precision": "bf16", "max_drop": 100, "out": tmp_path / "half"}
    quantize_bundle(QuantizeConfig(**common, **settings))
    assert said in verify(tmp_path / "half", require_signature=public)
    quantize_bundle(QuantizeConfig(data=str(data), **settings))
    assert not (tmp_path / "half" / signatures.SIGNATURE).exists()


def test_a_key_that_is_none_ends_it_before_anything_is_made(encoders, tiny, tmp_path, keys):
    data, model = encoders.data_set(tmp_path / "data"), encoders.save(tmp_path / "model", "bert", tiny.tokenizer)
    with pytest.raises(ConfigError, match=r"key\.pub"):
        export(ExportConfig(model=str(model), data=str(data), sign=keys[1], max_length=16, out=tmp_path / "whole"))
    assert not (tmp_path / "whole").exists()
