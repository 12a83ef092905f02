"""Quantize a bundle, as much of it as its accuracy allows.

    graphs of a precision --gates--> passes: done
                                     fails:  layers ranked by what their quantization does alone;
                                             the fewest of the most sensitive ones stay in float32

Gates compare the new graph with the fp32 graph of the same bundle: what the validation split loses, and how often both
say the same, on the path that an app runs. They never read a test text.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from lilliput import bundle, runtime, signatures
from lilliput.bundle import Bundle
from lilliput.compress.batch_invariance import Invariance
from lilliput.compress.batch_invariance import measure as measure_invariance
from lilliput.compress.comparison import compared
from lilliput.compress.sensitivity_chart import noise, picture
from lilliput.config import QuantizeConfig
from lilliput.errors import BundleError, ConfigError, GateError
from lilliput.export import onnx, quantize, sensitivity
from lilliput.export.calibration import Feed
from lilliput.export.precisions import QuantSpec, Write, writer
from lilliput.export.sensitivity import Sensitivity
from lilliput.export.to_bundle import DISABLED_OPTIMIZERS, int8_facts, ort_config, smoke, staging_beside
from lilliput.reporter import Reporter
from lilliput.runs import write_json, write_text
from lilliput.runtime import Model
from lilliput.train import sources
from lilliput.train.answers import Answers
from lilliput.train.data import Dataset
from lilliput.train.gates import gate_inputs
from lilliput.types import ONNX_FILES, Precision

WANTED = 1000
"""Texts that the gates should read, at least: of fewer, a share of answers that changed says little."""

RANKED = 128
"""Calibration texts that a layer's sensitivity is measured on."""


@dataclass(frozen=True)
class Verdict:
    """What the gates found of a graph.

    Attributes:
        kept: layers that stay in float32.
        drop: points of the validation metric lost against fp32, and its 95% interval.
        agreement: how alike both answer the ``texts`` that the gates read.
    """

    kept: tuple[str, ...]
    metric: str
    fp32: float
    drop: float
    drop_ci: tuple[float, float] | None
    agreement: float
    texts: int

    def fault(self, config: QuantizeConfig) -> str | None:
        """Why it does not pass; None where it does."""
        if np.isnan(self.agreement):
            return "has outputs that are not finite"
        worst = self.drop
        if config.strict:
            worst = self.drop_ci[1] if self.drop_ci else float("nan")
        if not worst <= config.max_drop:  # NaN fails
            how = "may lose up to" if config.strict else "loses"
            return f"{how} {worst:.2f} points of {self.metric}, and --max-drop is {config.max_drop:g}"
        if not self.agreement >= config.min_agreement:
            return (
                f"agrees with fp32 on {self.agreement:.2%} of {self.texts} texts, of {config.min_agreement:.2%} asked"
            )
        return None


def quantize_bundle(
    config: QuantizeConfig, reporter: Reporter | None = None, reference: Bundle | None = None
) -> dict[str, Any]:
    """Write ``config.out``: the bundle ``config.model`` with a graph in ``config.precision`` that passes its gates.

    Args:
        reference: the bundle whose fp32 graph the gates compare with; ``config.model`` itself by default.

    Returns:
        ``verdict`` (see `Verdict`), ``tried`` (those of all attempts), ``ranking`` of the layers where it was needed,
        ``bytes`` of both graphs, ``batches`` where answers are not to depend on them, and ``folder``. It lies in
        ``OUT.quantization.json``, too, which is all that is written where no attempt passes.

    Raises:
        GateError: no attempt passes.
        BundleError, ConfigError, DataError: something given is not usable; see the message.
    """
    signatures.check_private_key(config.sign)
    source = Bundle.open(config.model)
    if "fp32" not in source.manifest.graphs:
        raise ConfigError(f"--model {config.model}: ships no fp32 graph, which every other precision is made from")
    if "task" in config.model_fields_set and config.task != source.manifest.task:
        raise ConfigError(f"--task {config.task}: {config.model} is a bundle for {source.manifest.task}; leave it out")
    config = config.model_copy(update={"task": source.manifest.task})
    dataset = sources.load(config)
    if dataset.label_names and source.manifest.labels != dataset.label_names:
        theirs, ours = ", ".join(source.manifest.labels), ", ".join(dataset.label_names)
        raise ConfigError(f"--model {config.model}: answers {theirs}, but the data's labels are {ours}")
    staging = staging_beside(config.out)
    try:
        with tempfile.TemporaryDirectory() as scratch:
            fp32 = runtime.load((reference or source).path, precision="fp32")
            work = _Quantization(config, source, fp32, dataset, staging, Path(scratch), reporter or Reporter())
            result = work.run()
        bundle.commit(staging, config.out)
        _write_report(config.out, result)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return {**result, "folder": str(config.out)}


def _report_of(out: Path) -> Path:
    return out.with_name(f"{out.name}.quantization.json")


def _write_report(out: Path, result: dict[str, Any]) -> None:
    """What was found, and a picture of the ranking beside it."""
    write_json(_report_of(out), result)
    image = _report_of(out).with_suffix(".svg")
    if result["ranking"]:
        write_text(image, picture(result["ranking"], result["verdict"]["kept"]))
    else:
        image.unlink(missing_ok=True)  # an earlier run's


class _Quantization:
    """The work on one bundle, whose files are copied to ``staging`` and changed there."""

    def __init__(
        self,
        config: QuantizeConfig,
        source: Bundle,
        fp32: Model,
        dataset: Dataset,
        staging: Path,
        scratch: Path,
        reporter: Reporter,
    ) -> None:
        self.config, self.dataset, self.staging, self.reporter = config, dataset, staging, reporter
        self.manifest = source.manifest
        self.precision: Precision = config.precision
        self.spec = QuantSpec(config.precision, config.target_cpu, config.calibration, config.block_size)
        for name in source.manifest.files:
            place = staging / name
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(source.read(name))
        self.graph = staging / source.manifest.graphs["fp32"]["file"]
        self.fp32 = fp32
        items = self._calibration_items()
        self.feeds: list[Feed] = [self.fp32.feed(window) for some in self.fp32.windows(items) for window in some]
        self.layers = quantize.layers(self.graph)
        self.write: Write = writer(self.spec, self.graph, self.feeds, scratch)
        self.validation = self.fp32.predictions(dataset.validation.inputs)
        self.items = gate_inputs(dataset, config.gate_texts, config.seed, longest=self.manifest.max_length)
        if len(self.items) < WANTED:
            reporter.say(
                f"the gates read {len(self.items)} texts, and {WANTED} are wanted: add validation or unlabelled text"
            )
        self.answers = self.fp32.predictions(self.items)
        self.tried: list[Verdict] = []

    def run(self) -> dict[str, Any]:
        """Find the graph, and finish the bundle around it."""
        verdict, ranking = self._attempt(()), []
        if self.config.sensitivity or verdict.fault(self.config):
            ranking = self._ranking()
        if verdict.fault(self.config):
            verdict = self._fewest_kept([one.layer for one in ranking], verdict)
        passes = verdict.fault(self.config) is None
        batches = self._invariance() if passes and self.spec.batchable else None
        result = self._result(verdict, ranking, batches)
        fault = verdict.fault(self.config)
        if fault is None and batches is not None and self.precision == "int8-static":
            fault = batches.fault()
        if fault:
            _write_report(self.config.out, {**result, "fault": fault})
            raise GateError(
                f"{self.manifest.name}: the {self.precision} graph {fault}. No bundle was written; "
                f"{_report_of(self.config.out)} says what was tried"
            )
        self._finish(verdict)
        return result

    def _attempt(self, kept: Sequence[str]) -> Verdict:
        """Write the graph and ask it what the gates read."""
        path = self.staging / ONNX_FILES[self.precision]
        path.unlink(missing_ok=True)
        self.write(path, kept)
        bundle.write_manifest(self.staging, **self._fields(), smoke=[])
        model = runtime.load(self.staging, precision=self.precision)
        task, names, settings = model.task, self.dataset.label_names, model.settings
        self.reporter.progress(len(self.tried), len(self.tried) + 1, f"gates, {len(kept)} layers in float32")
        try:
            answers = [model.predictions(some) for some in (self.dataset.validation.inputs, self.items)]
        except BundleError:  # numbers beyond float16's range, mostly: layers in float32 may help
            return self._broken(kept, self.tried[0].metric if self.tried else task.metric)
        ours, theirs = (
            Answers(task, said, self.dataset.validation, names, settings) for said in (answers[0], self.validation)
        )
        found = compared(ours, theirs)
        sign = 1 if ours.metric in task.falling else -1
        ends = found["difference"]["ci"]
        points = None if ends is None else sorted(100 * sign * end + 0.0 for end in ends)
        verdict = Verdict(
            kept=tuple(kept),
            metric=ours.metric,
            fp32=found["teacher"]["value"],
            drop=100 * sign * found["difference"]["value"] + 0.0,  # no negative zero
            drop_ci=None if points is None else (points[0], points[1]),
            agreement=task.agreement(answers[1], self.answers, names, settings),
            texts=len(self.items),
        )
        self.tried.append(verdict)
        return verdict

    def _broken(self, kept: Sequence[str], metric: str) -> Verdict:
        """Of a graph that fails on a text or whose outputs are not finite."""
        nan = float("nan")
        verdict = Verdict(tuple(kept), metric, nan, nan, None, nan, len(self.items))
        self.tried.append(verdict)
        return verdict

    def _fewest_kept(self, ranked: Sequence[str], first: Verdict) -> Verdict:
        """The attempt that passes with the fewest of the most sensitive layers in float32; the last one where none
        does.

        The number is doubled until the gates pass, then halved in: that more layers in float32 pass too is how it
        mostly is, and whichever attempt is chosen did pass.
        """
        low, high, found = 0, 1, first
        while True:
            count = min(high, len(ranked))
            found = self._attempt(ranked[:count])
            if found.fault(self.config) is None:
                break
            if count == len(ranked):
                return found
            low, high = count, 2 * high
        best, high = found, len(found.kept)
        while high - low > 1:
            middle = (low + high) // 2
            found = self._attempt(ranked[:middle])
            if found.fault(self.config) is None:
                best, high = found, middle
            else:
                low = middle
        return best if self.tried[-1] is best else self._attempt(best.kept)

    def _ranking(self) -> list[Sensitivity]:
        return sensitivity.measure(
            self.graph,
            self.write,
            self.layers,
            self.feeds[:RANKED],
            self.fp32.task.outputs,
            DISABLED_OPTIMIZERS[self.precision],
            self.reporter.progress,
        )

    def _invariance(self) -> Invariance:
        model = runtime.load(self.staging, precision=self.precision)
        windows = [window for some in model.windows(self.items) for window in some]
        return measure_invariance(model, windows, seed=self.config.seed)

    def _calibration_items(self) -> list[Any]:
        inputs = self.dataset.train.inputs
        count = min(self.config.calibration_texts, len(inputs))
        if not count:
            raise ConfigError(f"--data {self.config.data}: holds no training text to calibrate on")
        chosen = np.random.default_rng(self.config.seed).choice(len(inputs), count, replace=False)
        return [inputs[place] for place in sorted(chosen.tolist())]

    def _fields(self) -> dict[str, Any]:
        """The manifest's fields with the new graph among them."""
        path = self.staging / ONNX_FILES[self.precision]
        graph = {
            "file": ONNX_FILES[self.precision],
            **onnx.describe(path),
            "disabled_optimizers": DISABLED_OPTIMIZERS[self.precision],
        }
        fields = asdict(replace(self.manifest, graphs={**self.manifest.graphs, self.precision: graph}))
        return {name: value for name, value in fields.items() if name not in ("format", "lilliput", "files", "smoke")}

    def _finish(self, verdict: Verdict) -> None:
        fields = self._fields()
        fields["name"] = self.config.out.name
        settings = {**asdict(self.spec), "reduce_range": self.spec.reduce_range, "kept": list(verdict.kept)}
        known = fields["recipe"].get("quantization", {})
        fields["recipe"] = {**fields["recipe"], "quantization": {**known, self.precision: settings}}
        if self.precision in ("int8", "int8-static"):
            facts = int8_facts(self.spec.reduce_range, static=self.precision == "int8-static")
            write_json(self.staging / "ort_config.json", ort_config(facts))
        bundle.write_manifest(self.staging, **fields, smoke=[])
        records = smoke(self.staging, tuple(fields["graphs"]), self.dataset.validation.inputs)
        bundle.write_manifest(self.staging, **fields, smoke=records)
        if self.config.sign:
            signatures.sign(self.staging, self.config.sign)

    def _result(self, verdict: Verdict, ranking: Sequence[Sensitivity], batches: Invariance | None) -> dict[str, Any]:
        sizes = {"fp32": self.graph.stat().st_size, self.precision: self._size()}
        found = {
            "precision": self.precision,
            "settings": {**asdict(self.spec), "reduce_range": self.spec.reduce_range},
            "fault": verdict.fault(self.config),
            "verdict": _finite(asdict(verdict)),
            "tried": [_finite(asdict(one)) for one in self.tried],
            "ranking": [_finite(asdict(one)) for one in ranking],
            "layers": len(self.layers),
            "bytes": sizes,
            "batches": None if batches is None else asdict(batches),
        }
        return dict(json.loads(json.dumps(found)))  # as a reader of the report sees it

    def _size(self) -> int:
        with contextlib.suppress(OSError):
            return (self.staging / ONNX_FILES[self.precision]).stat().st_size
        return 0


def _finite(row: dict[str, Any]) -> dict[str, Any]:
    """A row of JSON, which knows neither infinity nor NaN."""
    return {key: None if isinstance(value, float) and not np.isfinite(value) else value for key, value in row.items()}


def lines(result: dict[str, Any]) -> Iterator[str]:
    """What was found, for people."""
    verdict, sizes = result["verdict"], result["bytes"]
    ends = verdict["drop_ci"]
    interval = f" (95% interval {ends[0]:.2f} to {ends[1]:.2f})" if ends else ""
    yield f"{verdict['drop']:.2f} points of {verdict['metric']} lost{interval}; {verdict['agreement']:.2%} agreement"
    small, whole = sizes[result["precision"]], sizes["fp32"]
    kept = f"{len(verdict['kept'])} of {result['layers']} layers in float32"
    yield f"{small / 1e6:.1f} MB, {small / whole:.1%} of fp32; {kept}"
    for row in result["ranking"][:10]:
        yield f"  {row['layer']}: {noise(row)}, {row['flips']:.2%} of labels flip where it alone is quantized"
