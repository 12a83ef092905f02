"""What a student looks like, and what it starts from."""

import sys

import pytest
import torch
import transformers

from lilliput import encoder
from lilliput.compress import students
from lilliput.compress.students import transformer
from lilliput.errors import ConfigError
from lilliput.types import EncoderShape

ARCHITECTURES = ("bert", "roberta", "distilbert", "electra")
HEADS = ("SequenceClassification", "TokenClassification", "QuestionAnswering", "MaskedLM", "")
SHAPES = {
    "layers=3": (3, 32, 4, 48),
    "layers=3,hidden=32,heads=4,ffn=48": (3, 32, 4, 48),
    "layers=2,ffn=20": (2, 32, 4, 20),
    "layers=2,hidden=16": (2, 16, 2, 48),
    "layers=1,hidden=16,heads=4": (1, 16, 4, 48),
    "layers=2, heads=3, ffn=1, hidden=12": (2, 12, 3, 1),
}
IDS = torch.tensor([[2, 7, 30, 31, 32, 33, 34, 35, 3], [2, 40, 41, 42, 43, 3, 1, 1, 1]])
BATCH = {"input_ids": IDS, "attention_mask": (torch.arange(9) < torch.tensor([[9], [6]])).long()}


def wide(encoders, architecture, head="SequenceClassification"):
    """A random model of 4 heads of 8 dimensions; ELECTRA's tables have 8."""
    sizes = {"dim": 32, "n_heads": 4, "hidden_dim": 48}
    if architecture != "distilbert":
        sizes = {"hidden_size": 32, "num_attention_heads": 4, "intermediate_size": 48}
    kind = getattr(transformers, f"AutoModel{'For' if head else ''}{head}")
    with torch.random.fork_rng():
        torch.manual_seed(1)
        return kind.from_config(encoders.config(architecture, **sizes)).eval()


def outputs(model):
    with torch.no_grad():
        given = model(**BATCH)
    return next(given[name] for name in ("logits", "start_logits", "last_hidden_state") if name in given)


@pytest.mark.parametrize(
    ("text", "options"),
    [
        ("layers=1", (1, None, None, None)),
        ("layers=12", (12, None, None, None)),
        (" ffn=5 , layers=3", (3, None, None, 5)),
        ("layers=2,hidden=192,heads=6,ffn=768", (2, 192, 6, 768)),
    ],
)
def test_shapes_are_read(text, options):
    assert transformer.parse(text) == transformer.Options(text, *options)
    students.check(text)
    students.check(f" {text} ")
    students.check(f"transformer:{text}")


@pytest.mark.parametrize(
    "spec",
    [
        *("", "layers", "layers=", "layers=0", "layers=-1", "layers=2.5", "layers=²", "width=3"),
        *("hidden=8", "layers=2,", "layers=2,layers=2", "layers=2;ffn=8", "layers=2,ffn=0", "layers=2,width=8"),
    ],
)
def test_wrong_shapes_are_refused_with_an_example(spec):
    with pytest.raises(ConfigError) as caught:
        students.check(spec)
    assert str(caught.value) == (
        f"--student {spec}: must be layers=N, and if it is to be narrower than the teacher hidden=N, heads=N or ffn=N, "
        "with each N at least 1; for example layers=3 or layers=2,hidden=192,heads=6,ffn=768"
    )


@pytest.mark.parametrize("spec", ["convolution", "bert:layers=2"])
def test_unknown_kinds_are_refused_with_those_that_are_known(spec):
    with pytest.raises(ConfigError, match=rf"--student {spec}: unknown kind; give layers=N .*, or .*transformer"):
        students.check(spec)


def test_a_new_kind_is_one_new_file(encoders, tmp_path, monkeypatch):
    (tmp_path / "echo.py").write_text(
        "KIND = 'repeat'\n"
        "def parse(text): return text.upper()\n"
        "def build(teacher, tokenizer, options, seed): return teacher, tokenizer, options, seed\n"
    )
    monkeypatch.setattr(students, "__path__", [*students.__path__, str(tmp_path)])
    try:
        students.check("repeat")
        assert students.build("repeat:twice", "teacher", "words", seed=3) == (("teacher", "words", "TWICE", 3), None)
        with pytest.raises(ConfigError, match=r"--initial-layers: a student of the kind repeat has no layers"):
            students.build("repeat", "teacher", "words", initial_layers=(0,))
    finally:
        sys.modules.pop("lilliput.compress.students.echo")
        del students.echo


def test_a_student_has_the_teacher_s_embeddings_head_and_chosen_layers(encoders):
    teacher = encoders.classifier("bert", layers=4)
    for chosen, expected in ((None, (1, 3)), ((0, 2), (0, 2))):
        student, layers = students.build("layers=2", teacher, None, initial_layers=chosen)
        assert layers == expected
        assert encoder.shape_of(student).layers == 2
        for block, index in zip(encoder.layers_of(student), expected, strict=True):
            theirs = encoder.layers_of(teacher)[index].state_dict()
            assert all(torch.equal(theirs[name], weights) for name, weights in block.state_dict().items())
        assert torch.equal(student.classifier.weight, teacher.classifier.weight)
        assert torch.equal(encoder.word_embeddings_of(student).weight, encoder.word_embeddings_of(teacher).weight)


@pytest.mark.parametrize(
    "spec", ["layers=1", "layers=3,ffn=20", "layers=2,hidden=16", "layers=2,heads=2,hidden=16,ffn=24"]
)
@pytest.mark.parametrize("architecture", ["bert", "distilbert"])
def test_a_fitted_student_begins_nearer_to_its_teacher(encoders, architecture, spec):
    teacher = wide(encoders, architecture)
    batches = [{**BATCH, "labels": torch.tensor([0, 1])}] * 4  # a loss is not asked for, and labels are not read
    plain, _ = students.build(spec, teacher, None)
    fitted, layers = students.build(spec, teacher, None, batches=batches)
    assert encoder.shape_of(fitted) == encoder.shape_of(plain)
    assert len(layers) == encoder.shape_of(fitted).layers
    far, near = ((outputs(one.eval()) - outputs(teacher)).square().mean() for one in (plain, fitted))
    assert near < 0.5 * far


def test_blocks_out_of_their_order_and_smaller_heads_are_not_fitted(encoders):
    teacher = wide(encoders, "bert")
    for spec, chosen in (("layers=2", (2, 0)), ("layers=2", (1, 1)), ("layers=2,hidden=16,heads=4", None)):
        plain, fitted = (
            students.build(spec, teacher, None, initial_layers=chosen, batches=batches)[0].state_dict()
            for batches in (None, [BATCH])
        )
        assert all(torch.equal(plain[name], weights) for name, weights in fitted.items())


@pytest.mark.parametrize("spec", ["layers=2", "layers=2,hidden=8,heads=1,ffn=12"])
def test_a_student_shares_no_weight_with_its_teacher(encoders, spec):
    teacher = encoders.classifier("bert")
    before = {name: weights.clone() for name, weights in teacher.state_dict().items()}
    student, _ = students.build(spec, teacher, None, initial_layers=(1, 1))
    with torch.no_grad():
        for weights in student.parameters():
            assert weights.requires_grad
            weights.add_(1.0)
    assert all(torch.equal(before[name], weights) for name, weights in teacher.state_dict().items())
    assert encoder.shape_of(teacher) == EncoderShape(3, 16, 2, 24, 512)
    one, other = encoder.layers_of(student)
    assert one is not other  # a block that is taken twice is two blocks
    assert len({weights.data_ptr() for weights in student.parameters()}) == len(list(student.parameters()))


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("spec", SHAPES)
def test_students_of_any_shape_are_loaded_by_plain_transformers(encoders, architecture, spec, tmp_path):
    teacher = wide(encoders, architecture)
    student, _ = students.build(spec, teacher, None)
    assert encoder.shape_of(student) == EncoderShape(*SHAPES[spec], 512)
    assert not student.training
    student.save_pretrained(tmp_path)
    loaded = transformers.AutoModelForSequenceClassification.from_pretrained(tmp_path)
    assert encoder.shape_of(loaded) == EncoderShape(*SHAPES[spec], 512)
    assert outputs(student).isfinite().all()
    assert torch.equal(outputs(loaded), outputs(student))
    for name in ("vocab_size", "max_position_embeddings", "type_vocab_size", "id2label", "embedding_size"):
        assert getattr(loaded.config, name, None) == getattr(teacher.config, name, None)
    if SHAPES[spec] == (3, 32, 4, 48):
        assert torch.equal(outputs(student), outputs(teacher))


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("head", HEADS[1:])
def test_every_head_is_narrowed(encoders, architecture, head, tmp_path):
    teacher = wide(encoders, architecture, head)
    student, _ = students.build("layers=2,hidden=16,heads=4,ffn=20", teacher, None)
    student.save_pretrained(tmp_path)
    loaded = type(student).from_pretrained(tmp_path).eval()
    assert torch.equal(outputs(loaded), outputs(student))
    assert outputs(student).shape[:-1] == outputs(teacher).shape[:-1]
    if head == "MaskedLM":
        words, bias = student.get_output_embeddings().weight, student.get_output_embeddings().bias
        assert words is encoder.word_embeddings_of(student).weight
        assert words.shape == (512, 8 if architecture == "electra" else 16)
        assert bias.shape == (512,)


def test_an_electra_with_tables_as_wide_as_the_stream(encoders, tmp_path):
    teacher = encoders.classifier("electra", embedding_size=16)
    student, _ = students.build("layers=1,hidden=8", teacher, None)
    assert student.config.embedding_size == 8
    student.save_pretrained(tmp_path)
    assert torch.equal(outputs(type(student).from_pretrained(tmp_path).eval()), outputs(student))


@torch.no_grad()
def test_a_narrowed_student_is_near_a_teacher_whose_dimensions_are_unequal(encoders):
    """Half of the dimensions, heads and neurons say little, and the student finds the others."""
    sizes = {"hidden_size": 128, "num_attention_heads": 16, "intermediate_size": 48, "initializer_range": 0.05}
    teacher, weak = encoders.classifier("bert", layers=2, **sizes), torch.arange(128) % 2 == 0
    for table in encoder.ends_of(teacher).tables:
        table.weight[:, weak] *= 0.05
    for block in encoder.blocks_of(teacher):
        for layer in (block.output, block.ffn_out):
            layer.weight[weak] *= 0.05
        block.output.weight[:, 64:] *= 0.05
        block.ffn_out.weight[:, 24:] *= 0.05
    teacher.classifier.weight[:, weak] *= 0.05
    ids = torch.randint(5, 512, (64, 9), generator=torch.Generator().manual_seed(0))
    student, _ = students.build("layers=2,hidden=64,ffn=24", teacher, None)
    torch.manual_seed(0)
    fresh = type(student)(student.config).eval()
    wanted, started, random = (model(input_ids=ids).logits for model in (teacher, student, fresh))
    variance = (wanted - wanted.mean(0)).square().mean()
    assert (started - wanted).square().mean() < 0.25 * variance
    assert (random - wanted).square().mean() > variance


@pytest.mark.parametrize(
    ("spec", "layers", "message"),
    [
        ("layers=4", None, "--student layers=4: the teacher has only 3 layers"),
        ("layers=1,hidden=33", None, "--student layers=1,hidden=33: the teacher has only 32 dimensions (hidden)"),
        ("layers=1,heads=8", None, "--student layers=1,heads=8: the teacher has only 4 attention heads"),
        ("layers=1,ffn=49", None, "--student layers=1,ffn=49: the teacher has only 48 feed-forward neurons (ffn)"),
        (
            "layers=1,hidden=12",
            None,
            "--student layers=1,hidden=12: hidden=12 is no multiple of 8, the teacher's size of a head; "
            "heads can be 2, 3, 4",
        ),
        (
            "layers=1,hidden=31",
            None,
            "--student layers=1,hidden=31: hidden=31 is no multiple of 8, the teacher's size of a head; "
            "make hidden a multiple of 8",
        ),
        (
            "layers=1,hidden=16,heads=3",
            None,
            "--student layers=1,hidden=16,heads=3: 16 dimensions are not 3 heads of at most 8, the teacher's size; "
            "heads can be 2, 4",
        ),
        (
            "layers=1,heads=2",
            None,
            "--student layers=1,heads=2: 32 dimensions are not 2 heads of at most 8, the teacher's size; "
            "heads can be 4",
        ),
        ("layers=2", (0,), "--initial-layers 0: must name 2 layers, as --student does"),
        ("layers=2", (), "--initial-layers : must name 2 layers, as --student does"),
        ("layers=2", (0, 3), "--initial-layers 0,3: the layers that it starts from are numbered 0 to 2"),
        ("layers=1", (-1,), "--initial-layers -1: the layers that it starts from are numbered 0 to 2"),
    ],
)
def test_shapes_that_do_not_fit_the_teacher(encoders, spec, layers, message):
    students.check(spec)
    with pytest.raises(ConfigError) as caught:
        students.build(spec, wide(encoders, "bert"), None, initial_layers=layers)
    assert str(caught.value) == message


def test_an_electra_can_t_be_as_wide_as_its_tables(encoders):
    with pytest.raises(ConfigError, match=r"^--student layers=1,hidden=8: hidden=8 is the width of the teacher's emb"):
        students.build("layers=1,hidden=8", wide(encoders, "electra"), None)
