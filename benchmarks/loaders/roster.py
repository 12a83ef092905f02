"""The loaders that a bundle promises to work in, and the lines with which a user of each takes a bundle.

The lines are those of docs/export.md, and they are what is run: a measurement adds nothing to them but the questions.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal["pipeline", "graph", "sentences", "node", "browser"]


@dataclass(frozen=True)
class Loader:
    """A library, or a way to use one, that takes a bundle.

    Attributes:
        name: of the loader, in tables and test ids.
        kind: how it is asked (see `lilliput.benchmarks.loaders.asking`).
        requirements: of its environment, a file in ``benchmarks/peers/requirements``; empty for those in JavaScript.
        packages: whose versions a measurement notes.
        lines: open the folder ``bundle`` beside them, with its weights or its graph in fp32.
        task: of the bundle that it opens.
    """

    name: str
    kind: Kind
    requirements: str
    packages: tuple[str, ...]
    lines: str
    task: str = "classification"

    @property
    def language(self) -> str:
        """Of ``lines``, as a fenced block names it."""
        return "js" if self.kind in ("node", "browser") else "python"


OPTIMUM = Loader(
    "optimum-onnx",
    "pipeline",
    "optimum",
    ("optimum-onnx", "transformers", "onnxruntime", "tokenizers"),
    """\
from optimum.onnxruntime import ORTModelForSequenceClassification
from transformers import AutoTokenizer, pipeline

tokenizer = AutoTokenizer.from_pretrained("bundle")
model = ORTModelForSequenceClassification.from_pretrained("bundle", subfolder="onnx", file_name="model.onnx")
classify = pipeline("text-classification", model=model, tokenizer=tokenizer, truncation=True)
""",
)
ONNXRUNTIME = Loader(
    "onnxruntime",
    "graph",
    "onnxruntime",
    ("onnxruntime", "tokenizers", "numpy"),
    """\
import onnxruntime
from tokenizers import Tokenizer

tokenizer = Tokenizer.from_file("bundle/tokenizer.json")
session = onnxruntime.InferenceSession("bundle/onnx/model.onnx", providers=["CPUExecutionProvider"])


def logits(text):
    found = tokenizer.encode(text)
    feed = {"input_ids": found.ids, "attention_mask": found.attention_mask, "token_type_ids": found.type_ids}
    return session.run(["logits"], {one.name: [feed[one.name]] for one in session.get_inputs()})[0][0]
""",
)
TRANSFORMERS = Loader(
    "transformers",
    "pipeline",
    "hf-pipeline",
    ("transformers", "torch", "tokenizers"),
    """\
from transformers import AutoModelForSequenceClassification, AutoTokenizer, pipeline

tokenizer = AutoTokenizer.from_pretrained("bundle")
model = AutoModelForSequenceClassification.from_pretrained("bundle")
classify = pipeline("text-classification", model=model, tokenizer=tokenizer, truncation=True)
""",
)
SENTENCE_TRANSFORMERS = Loader(
    "sentence-transformers",
    "sentences",
    "minilm-lr",
    ("sentence-transformers", "transformers", "torch", "tokenizers"),
    """\
from sentence_transformers import SentenceTransformer

model = SentenceTransformer("bundle")
vectors = model.encode(["a joy from start to finish", "dull"])
""",
    task="sentence-embedding",
)
NODE = Loader(
    "transformers.js in Node",
    "node",
    "",
    ("@huggingface/transformers", "onnxruntime-node"),
    """\
import { env, pipeline } from "@huggingface/transformers";

env.localModelPath = "./";
env.allowRemoteModels = false;
const classify = await pipeline("text-classification", "bundle", { dtype: "fp32" });
""",
)
BROWSER = Loader(
    "transformers.js in a browser",
    "browser",
    "",
    ("@huggingface/transformers", "onnxruntime-web"),
    """\
import { env, pipeline } from "./node_modules/@huggingface/transformers/dist/transformers.min.js";

env.allowLocalModels = true;
env.allowRemoteModels = false;
env.localModelPath = "./";
env.backends.onnx.wasm.wasmPaths = new URL("node_modules/onnxruntime-web/dist/", location.href).href;
const classify = await pipeline("text-classification", "bundle", { dtype: "fp32" });
""",
)

LOADERS = (OPTIMUM, ONNXRUNTIME, TRANSFORMERS, SENTENCE_TRANSFORMERS, NODE, BROWSER)
