"""Convolutional and static students: their options, what they start from, and a bundle of one."""

import numpy as np
import pytest
import torch

import lilliput
from lilliput import encoder, models
from lilliput.compress import students
from lilliput.compress.students import convolutional, static
from lilliput.config import ExportConfig
from lilliput.errors import ConfigError
from lilliput.export.to_bundle import to_bundle
from lilliput.train.evaluate import logits_of

TEXTS = ["the film is great", "漢字 movie was awful 😀", "it", "", "a joy from start to finish", "not good"]


def test_options():
    assert static.parse("") == static.Options()
    assert static.parse("width=64") == static.Options(width=64)
    assert static.parse(" kernel=5, width=32") == static.Options(width=32, kernel=5)
    assert convolutional.parse("") == convolutional.Options()
    assert convolutional.parse("width=64,layers=2,kernel=5") == convolutional.Options(64, 2, 5)
    students.check("static")
    students.check("conv:width=64,layers=2")


@pytest.mark.parametrize(
    "text",
    [
        *(
            "width",
            "width=",
            "width=0",
            "width=-1",
            "width=2.5",
            "width=²",
            "width=8,width=8",
            "width=4097",
            "width=8,",
        ),
        *("size=3", "=3", ",", "kernel=16"),
    ],
)
@pytest.mark.parametrize("kind", [static, convolutional])
def test_wrong_options_are_refused_with_what_there_is(kind, text):
    with pytest.raises(ConfigError) as caught:
        kind.parse(text)
    message = str(caught.value)
    assert message.startswith(f"--student {kind.KIND}:{text}: the options of {kind.KIND} are width: ")
    assert all(f"{name}: {words}, 1 to " in message for name, words in kind.OPTIONS.items())
    default = message.rpartition(f"{kind.KIND}:")[2]
    assert kind.parse(default) == kind.Options()


def test_layers_are_no_option_of_a_static_student():
    with pytest.raises(ConfigError):
        static.parse("layers=2")


@pytest.fixture(params=["static:width=8,kernel=2", "conv:width=8,layers=2"])
def spec(request):
    return request.param


@pytest.mark.parametrize("architecture", ["bert", "roberta", "distilbert", "electra"])
def test_a_student_has_the_teacher_s_labels_length_and_token_vectors(architecture, spec, encoders, tiny):
    teacher, tokenizer = encoders.classifier(architecture), encoders.tokenizer(architecture, tiny.tokenizer)
    student, blocks = students.build(spec, teacher, tokenizer)
    assert blocks is None
    assert student.config.model_type == f"lilliput_{spec.partition(':')[0]}"
    assert models.labels_of(student) == models.labels_of(teacher)
    assert student.config.problem_type == teacher.config.problem_type
    assert encoder.longest_input(student) == encoder.longest_input(teacher) == 40
    theirs, own = (encoder.word_embeddings_of(model).weight for model in (teacher, student))
    pad = tokenizer.pad_token_id
    assert not own[pad].any()
    kept = [i for i in range(len(theirs)) if i != pad]
    expected = theirs - theirs.mean(dim=0)
    assert torch.allclose(own[kept], (expected / expected.square().mean().sqrt())[kept], atol=1e-5)
    assert own.data_ptr() != theirs.data_ptr()
    logits = student.eval()(torch.tensor([[2, 7, 30, 3]])).logits
    assert logits.shape == (1, 2)
    assert logits.isfinite().all()


def test_a_seed_decides_what_is_random(spec, encoders, tiny):
    teacher, tokenizer = encoders.classifier("bert"), tiny.tokenizer()
    before = torch.random.get_rng_state()
    one, again, other = (students.build(spec, teacher, tokenizer, seed=seed)[0].state_dict() for seed in (3, 3, 4))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert all(torch.equal(one[name], again[name]) for name in one)
    assert any(not torch.equal(one[name], other[name]) for name in one)


def learned(spec, teacher, tokenizer, texts):
    """A student that learned the teacher's logits on ``texts`` by heart."""
    student, _ = students.build(spec, teacher, tokenizer)
    batch = tokenizer(texts, padding=True, return_tensors="pt")
    wanted = teacher(**batch).logits.detach()
    optimizer = torch.optim.Adam(student.parameters(), lr=0.01)
    student.eval()
    for _ in range(60):
        optimizer.zero_grad()
        loss = torch.nn.functional.mse_loss(student(**batch).logits, wanted)
        loss.backward()
        optimizer.step()
    return student, float(loss.detach()) / float(wanted.var())


def test_a_student_learns_and_its_bundle_answers_without_torch_as_it_does(spec, encoders, tiny, tmp_path):
    teacher, tokenizer = encoders.classifier("bert"), tiny.tokenizer()
    student, unexplained = learned(spec, teacher, tokenizer, TEXTS)
    assert unexplained < 0.05
    reference = logits_of(student, tokenizer, TEXTS, 24)
    result = to_bundle(
        student,
        tokenizer,
        ExportConfig(model="student", out=tmp_path / "small", max_length=24, min_agreement=1.0),
        TEXTS,
        [[row] for row in reference],
        samples=["a film", "the joy was not good"],
        provenance={},
        recipe={},
    )
    assert [figure["agreement"] for figure in result["parity"]] == [1.0, 1.0]
    model = lilliput.load(tmp_path / "small", precision="fp32")
    assert model.manifest.architecture == student.config.model_type
    assert model.manifest.inputs == ("input_ids", "attention_mask")
    assert np.abs(model.logits(TEXTS) - reference).max() < 1e-4
    int8 = lilliput.load(tmp_path / "small")
    assert int8.precision == "int8"
    assert np.abs(int8.logits(TEXTS) - reference).max() < 0.1 * np.abs(reference).max()
    saved = models.load_finetuned_classifier(tmp_path / "small")
    assert np.array_equal(logits_of(saved, tokenizer, TEXTS, 24), reference)
