"""What a student looks like, and what it starts from."""

import pytest
import torch

from lilliput import encoder
from lilliput.compress import students
from lilliput.errors import ConfigError


@pytest.mark.parametrize(("spec", "layers"), [("layers=1", 1), ("layers=12", 12), (" layers=3 ", 3)])
def test_shapes(spec, layers):
    assert students.parse_shape(spec) == layers


@pytest.mark.parametrize(
    "spec", ["", "layers", "layers=", "layers=0", "layers=-1", "layers=2.5", "layers=²", "width=3"]
)
def test_wrong_shapes_are_refused_with_an_example(spec):
    with pytest.raises(ConfigError) as caught:
        students.parse_shape(spec)
    assert str(caught.value) == f"--student {spec}: must be layers=N with N at least 1, for example layers=3"


@pytest.mark.parametrize(
    ("student", "teacher", "layers"),
    [
        (1, 1, (0,)),
        (1, 6, (3,)),
        (2, 6, (1, 4)),
        (3, 6, (1, 3, 5)),
        (2, 12, (3, 9)),
        (3, 12, (2, 6, 10)),
        (4, 12, (1, 4, 7, 10)),
        (6, 6, (0, 1, 2, 3, 4, 5)),
        (5, 6, (0, 1, 3, 4, 5)),
    ],
)
def test_evenly_spaced(student, teacher, layers):
    assert students.evenly_spaced(student, teacher) == layers


def test_evenly_spaced_layers_rise_and_exist():
    for teacher in range(1, 30):
        for student in range(1, teacher + 1):
            layers = students.evenly_spaced(student, teacher)
            assert len(set(layers)) == student
            assert list(layers) == sorted(layers)
            assert 0 <= layers[0] <= layers[-1] < teacher


def test_a_student_has_the_teacher_s_embeddings_head_and_chosen_layers(encoders):
    teacher = encoders.classifier("bert", layers=4)
    for chosen, expected in ((None, (1, 3)), ((0, 2), (0, 2))):
        student = students.from_teacher(teacher, "layers=2", chosen)
        assert encoder.shape_of(student).layers == 2
        for block, index in zip(encoder.layers_of(student), expected, strict=True):
            theirs = encoder.layers_of(teacher)[index].state_dict()
            assert all(torch.equal(theirs[name], weights) for name, weights in block.state_dict().items())
        assert torch.equal(student.classifier.weight, teacher.classifier.weight)
        assert torch.equal(encoder.word_embeddings_of(student).weight, encoder.word_embeddings_of(teacher).weight)


def test_a_student_shares_no_weight_with_its_teacher(encoders):
    teacher = encoders.classifier("bert")
    student = students.from_teacher(teacher, "layers=2", (1, 1))
    before = {name: weights.clone() for name, weights in teacher.state_dict().items()}
    with torch.no_grad():
        for weights in student.parameters():
            weights.add_(1.0)
    assert all(torch.equal(before[name], weights) for name, weights in teacher.state_dict().items())
    one, other = encoder.layers_of(student)
    assert one is not other  # a block that is taken twice is two blocks
    assert len({weights.data_ptr() for weights in student.parameters()}) == len(list(student.parameters()))


@pytest.mark.parametrize(
    ("spec", "layers", "message"),
    [
        ("layers=4", None, "--student layers=4: the teacher has only 3 layers"),
        ("layers=2", (0,), "--initial-layers 0: must name 2 layers, as --student does"),
        ("layers=2", (), "--initial-layers : must name 2 layers, as --student does"),
        ("layers=2", (0, 3), "--initial-layers 0,3: the layers that it starts from are numbered 0 to 2"),
        ("layers=1", (-1,), "--initial-layers -1: the layers that it starts from are numbered 0 to 2"),
    ],
)
def test_shapes_that_do_not_fit_the_teacher(encoders, spec, layers, message):
    with pytest.raises(ConfigError) as caught:
        students.from_teacher(encoders.classifier("bert"), spec, layers)
    assert str(caught.value) == message
