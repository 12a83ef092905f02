"""Encoders whose blocks have unequal shapes: configuration, forward pass by hand, loading."""

import copy

import pytest
import torch
import transformers

from lilliput import encoder, models
from lilliput.architectures import pruned
from lilliput.errors import ModelError
from lilliput.first_token import first_token_only
from lilliput.types import BlockShape, EncoderShape

ARCHITECTURES = ("bert", "roberta", "distilbert", "electra")
SHAPES = (BlockShape(3, 7), BlockShape(0, 5), BlockShape(2, 0), BlockShape(0, 4))


def config(encoders, architecture, **changes):
    """Width 15, which 3 heads of 8 channels are not."""
    plain = encoders.config(architecture, layers=4, **changes)
    width = {"dim" if architecture == "distilbert" else "hidden_size": 15}
    sizes = {"block_heads": [3, 0, 2, 0], "block_ffn": [7, 5, 0, 4], "head_size": 8}
    return pruned.with_class(plain, pruned.CONFIGS[type(plain)], **width, **sizes)


@pytest.fixture(params=ARCHITECTURES)
def model(request, encoders):
    torch.manual_seed(0)
    made = transformers.AutoModelForSequenceClassification.from_config(config(encoders, request.param)).eval()
    with torch.no_grad():
        for weight in made.parameters():
            weight.normal_(0, 0.4)
    return made


def inputs():
    """Two texts of 6 and 4 tokens; the second is padded with 1, RoBERTa's padding."""
    ids = torch.tensor([[2, 7, 30, 31, 32, 3], [2, 40, 41, 3, 1, 1]])
    return {"input_ids": ids, "attention_mask": (torch.arange(6) < torch.tensor([[6], [4]])).long()}


def test_every_plain_class_has_one_that_the_auto_classes_find(encoders):
    assert len(pruned.MODELS) == 20
    for plain, ours in pruned.MODELS.items():
        assert ours.__name__ == f"Lilliput{plain.__name__}"
        assert issubclass(ours, plain)
        assert getattr(pruned, ours.__name__) is ours
        assert pruned.plain_of(ours) is plain
    for architecture in ARCHITECTURES:
        settings = config(encoders, architecture)
        assert settings.model_type == f"lilliput_{architecture}"
        for head in ("", "ForMaskedLM", "ForQuestionAnswering", "ForSequenceClassification", "ForTokenClassification"):
            made = getattr(transformers, f"AutoModel{head}").from_config(settings)
            assert type(made).__name__ == type(settings).__name__.replace("Config", head or "Model")


def test_shapes_are_those_of_the_configuration(model):
    assert encoder.block_shapes_of(model) == SHAPES
    assert encoder.shape_of(model) == EncoderShape(layers=4, hidden=15, heads=3, ffn=7, vocabulary=512)
    assert encoder.head_size_of(model) == 8
    assert encoder.is_per_block(model)
    assert encoder.longest_input(model) == 40
    for block, shape in zip(encoder.blocks_of(model), SHAPES, strict=True):
        assert block.query.weight.shape == (8 * shape.heads, 15)
        assert block.output.weight.shape == (15, 8 * shape.heads)
        assert block.ffn_in.weight.shape == (shape.ffn, 15)
        assert block.ffn_out.weight.shape == (15, shape.ffn)
        assert block.output.bias.shape == block.ffn_out.bias.shape == (15,)


def test_what_is_not_there_is_no_parameter(model):
    assert all(weight.numel() for weight in model.state_dict().values())
    assert all(weight.numel() for weight in model.parameters())
    blocks = sum(weight.numel() for weight in encoder.layers_of(model).parameters())
    attention = 4 * 15 * 8 * (3 + 2) + 3 * 8 * (3 + 2) + 4 * 15
    feed_forward = 2 * 15 * (7 + 5 + 4) + (7 + 5 + 4) + 4 * 15
    assert blocks == attention + feed_forward + 4 * 4 * 15  # and two norms of a gain and a bias in each


@torch.no_grad()
def test_blocks_compute_what_their_parts_do(model):
    """Attention by hand, of the heads that there are, at a size that is not the width divided by the heads."""
    read, given = [], []
    for block in encoder.layers_of(model):
        block.register_forward_hook(lambda _, inputs, output: read.append(inputs[0]))
        block.register_forward_hook(lambda _, inputs, output: given.append(output))
    model(**inputs())
    unseen = torch.zeros(2, 1, 1, 6).masked_fill(inputs()["attention_mask"][:, None, None] == 0, -torch.inf)
    for block, shape, hidden, expected in zip(encoder.blocks_of(model), SHAPES, read, given, strict=True):
        found = block.output.bias
        if shape.heads:
            q, k, v = (
                layer(hidden).view(2, 6, shape.heads, 8).transpose(1, 2)
                for layer in (block.query, block.key, block.value)
            )
            attention = (q @ k.transpose(2, 3) / 8**0.5 + unseen).softmax(-1)
            found = block.output((attention @ v).transpose(1, 2).flatten(2))
        hidden = block.attention_norm(hidden + found)
        inner = block.ffn_out.bias
        if shape.ffn:
            inner = block.ffn_out(torch.nn.functional.gelu(block.ffn_in(hidden)))
        assert torch.allclose(block.ffn_norm(hidden + inner), expected, atol=1e-5)


@torch.no_grad()
def test_both_implementations_of_attention_agree(model):
    expected = model(**inputs()).logits
    model.set_attn_implementation("eager")
    answers = model(**inputs(), output_attentions=True, output_hidden_states=True)
    assert torch.allclose(answers.logits, expected, atol=1e-5)
    assert [attention.shape[1] for attention in answers.attentions] == [3, 2]  # of the blocks that have heads
    assert len(answers.hidden_states) == 5


@pytest.mark.parametrize("kept", [(0, 1, 2, 3), (0, 1, 2), (3, 0)])
def test_the_first_token_alone(model, kept):
    """Also where the last block has no heads (3), no neurons (2), or both (0)."""
    smaller = encoder.keep_layers(model, kept)
    assert encoder.block_shapes_of(smaller) == tuple(SHAPES[i] for i in kept)
    expected = smaller(**inputs()).logits
    with first_token_only(smaller):
        assert torch.allclose(smaller(**inputs()).logits, expected, atol=1e-5)


def test_kept_layers_are_saved_and_loaded(model, tmp_path):
    smaller = encoder.keep_layers(model, (2, 1))
    smaller.save_pretrained(tmp_path)
    loaded = models.load_finetuned_classifier(tmp_path)
    assert encoder.block_shapes_of(loaded) == (SHAPES[2], SHAPES[1])
    with torch.no_grad():
        assert torch.equal(loaded.eval()(**inputs()).logits, smaller(**inputs()).logits)
    assert encoder.block_shapes_of(model) == SHAPES


def test_a_fresh_model_is_initialised_as_a_plain_one(encoders):
    torch.manual_seed(0)
    made = transformers.AutoModel.from_config(config(encoders, "bert", initializer_range=0.05))
    for block in encoder.blocks_of(made):
        for layer in (block.query, block.ffn_in):
            if layer.weight.numel():
                assert layer.weight.std().item() == pytest.approx(0.05, rel=0.2)
                assert not layer.bias.any()


def test_every_parameter_gets_a_gradient_and_copies_are_whole(model):
    other = copy.deepcopy(model)
    for one in (model, other):
        one(**inputs(), labels=torch.tensor([0, 1])).loss.backward()
        assert all(weight.grad is not None for weight in one.parameters())


def test_without_lists_all_blocks_are_those_of_the_plain_configuration():
    made = pruned.LilliputBertConfig(hidden_size=16, num_hidden_layers=2, num_attention_heads=4, intermediate_size=6)
    assert (made.block_heads, made.block_ffn, made.head_size) == ([4, 4], [6, 6], 4)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"block_heads": [1, 2]}, "block_heads: must be 4 whole numbers"),
        ({"block_heads": [1, 2, 3, -1]}, "block_heads: must be 4 whole numbers"),
        ({"block_ffn": [1, 2, 3, "4"]}, "block_ffn: must be 4 whole numbers"),
        ({"block_ffn": 3}, "block_ffn: must be 4 whole numbers"),
        ({"head_size": 0}, "head_size: must be a whole number of at least 1"),
    ],
)
def test_a_configuration_that_can_not_be_is_refused(model, tmp_path, changes, message):
    import json

    model.save_pretrained(tmp_path)
    path = tmp_path / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    with pytest.raises(ModelError, match=f"no usable config.json: {message}"):
        models.load_finetuned_classifier(tmp_path)
