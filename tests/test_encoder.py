"""Encoders from the inside: the four architectures, taken apart by hand."""

import pytest
import torch
from transformers import AutoModelForSequenceClassification
from transformers.masking_utils import create_bidirectional_mask

from lilliput import encoder, models
from lilliput.errors import ConfigError, ModelError
from lilliput.types import EncoderShape

ARCHITECTURES = ("bert", "roberta", "distilbert", "electra")


@pytest.fixture(params=ARCHITECTURES)
def model(request, encoders):
    return encoders.classifier(request.param, layers=3)


def inputs():
    """Two texts of 9 and 6 tokens; the second is padded with 1, RoBERTa's padding."""
    ids = torch.tensor([[2, 7, 30, 31, 32, 33, 34, 35, 3], [2, 40, 41, 42, 43, 3, 1, 1, 1]])
    return {"input_ids": ids, "attention_mask": (torch.arange(9) < torch.tensor([[9], [6]])).long()}


def by_hand(model, blocks, batch):
    """The logits of embeddings, the given blocks in turn, and the head, put together here."""
    base = getattr(model, model.base_model_prefix)
    hidden = base.embeddings(input_ids=batch["input_ids"])
    if hasattr(base, "embeddings_project"):
        hidden = base.embeddings_project(hidden)
    mask = create_bidirectional_mask(config=model.config, inputs_embeds=hidden, attention_mask=batch["attention_mask"])
    for block in blocks:
        output = block(hidden, mask)
        hidden = output[0] if isinstance(output, tuple) else output
    if model.config.model_type == "bert":
        return model.classifier(model.dropout(base.pooler(hidden)))
    if model.config.model_type == "distilbert":
        return model.classifier(model.dropout(torch.relu(model.pre_classifier(hidden[:, 0]))))
    return model.classifier(hidden)


@torch.no_grad()
def test_the_model_put_together_by_hand_is_the_model(model):
    """Else the tests below would prove nothing."""
    assert torch.allclose(model(**inputs()).logits, by_hand(model, encoder.layers_of(model), inputs()), atol=1e-6)


@torch.no_grad()
@pytest.mark.parametrize("indices", [(1,), (0, 2), (2, 0), (0, 1, 2), (1, 1)])
def test_kept_layers_compute_what_those_layers_compute(model, indices):
    blocks = list(encoder.layers_of(model))
    smaller = encoder.keep_layers(model, indices)
    expected = by_hand(model, [blocks[i] for i in indices], inputs())
    assert torch.allclose(smaller.eval()(**inputs()).logits, expected, atol=1e-6)
    if indices != (0, 1, 2):
        assert not torch.allclose(model(**inputs()).logits, expected, atol=1e-3)
    assert len(encoder.layers_of(model)) == 3  # the model itself is as it was


@torch.no_grad()
def test_a_smaller_model_saved_and_loaded_by_plain_transformers_answers_the_same(model, tmp_path):
    smaller = encoder.keep_layers(model, (2, 0)).eval()
    expected = smaller(**inputs()).logits
    smaller.save_pretrained(tmp_path)
    loaded = AutoModelForSequenceClassification.from_pretrained(tmp_path)
    assert encoder.shape_of(loaded) == encoder.shape_of(smaller)
    assert torch.equal(loaded(**inputs()).logits, expected)
    assert torch.equal(models.load_finetuned_classifier(tmp_path)(**inputs()).logits, expected)


def test_the_shape_of_a_model(model):
    assert encoder.shape_of(model) == EncoderShape(layers=3, hidden=16, heads=2, ffn=24, vocabulary=512)
    assert encoder.shape_of(encoder.keep_layers(model, (0,))).layers == 1


def test_the_word_embeddings_are_the_token_table(model):
    assert encoder.word_embeddings_of(model).num_embeddings == 512
    assert encoder.word_embeddings_of(model).weight is model.get_input_embeddings().weight


def recorded(module, inputs=True):
    """What ``module`` reads, or gives, in the order in which it is called."""
    calls = []
    module.register_forward_hook(lambda _, read, given: calls.append(read[0] if inputs else given))
    return calls


@torch.no_grad()
@pytest.mark.parametrize("bare", [False, True])
def test_the_first_block_reads_what_the_embeddings_give(encoders, bare):
    for architecture in ARCHITECTURES:
        model = encoders.classifier(architecture)
        whole = getattr(model, model.base_model_prefix) if bare else model
        given = recorded(encoder.embeddings_of(whole), inputs=False)
        read = recorded(encoder.layers_of(whole)[0])
        whole(**inputs())
        assert given[0].shape == (2, 9, 16)
        assert torch.equal(given[0], read[0])


@torch.no_grad()
def test_queries_and_keys_give_the_attention_of_the_model(model):
    """Attention made here from the projections is the attention that the model reports."""
    model.set_attn_implementation("eager")
    projections = encoder.attention_projections_of(model)
    calls = [[recorded(one, inputs=False) for one in block] for block in projections]
    reported = model(**inputs(), output_attentions=True).attentions
    heads = encoder.block_shapes_of(model)[0].heads
    assert heads == 2
    assert len(projections) == len(reported) == 3
    unseen = torch.zeros(2, 1, 1, 9).masked_fill(inputs()["attention_mask"][:, None, None] == 0, -torch.inf)
    for (query, key, value), attention in zip(calls, reported, strict=True):
        q, k = (one[0].view(2, 9, heads, 8).transpose(1, 2) for one in (query, key))  # [B, H, T, 8]
        expected = (q @ k.transpose(2, 3) / 8**0.5 + unseen).softmax(-1)
        assert torch.allclose(attention, expected, atol=1e-6)
        assert value[0].shape == (2, 9, 16)
    assert len({id(one) for block in projections for one in block}) == 9


@torch.no_grad()
def test_the_parts_of_a_block_compute_the_block(model):
    """Of one token attention is the value itself, so that the block is its parts in a row."""
    blocks = [recorded(block) for block in encoder.layers_of(model)]
    given = [recorded(block, inputs=False) for block in encoder.layers_of(model)]
    model(input_ids=torch.tensor([[7]]))
    for part, read, output in zip(encoder.blocks_of(model), blocks, given, strict=True):
        hidden = read[0]
        hidden = part.attention_norm(hidden + part.output(part.value(hidden)))
        hidden = part.ffn_norm(hidden + part.ffn_out(torch.nn.functional.gelu(part.ffn_in(hidden))))
        assert torch.allclose(hidden, output[0][0] if isinstance(output[0], tuple) else output[0], atol=1e-5)


def test_what_lies_before_and_after_the_blocks(model):
    ends = encoder.ends_of(model)
    narrow = model.config.model_type == "electra"
    tables = 2 if model.config.model_type == "distilbert" else 3
    assert [table.embedding_dim for table in ends.tables] == tables * [8 if narrow else 16]
    assert ends.tables[0] is encoder.word_embeddings_of(model)
    assert ends.table_norm.normalized_shape == (8 if narrow else 16,)
    assert (ends.widening is not None) == narrow
    assert ends.features.weight.shape == (16, 16)
    assert ends.last.weight.shape == (2, 16)
    assert ends.feature_norm is None


@pytest.mark.parametrize(
    ("kind", "parts"),
    [
        ("AutoModelForTokenClassification", (None, None, (2, 16))),
        ("AutoModelForQuestionAnswering", (None, None, (2, 16))),
        ("AutoModelForMaskedLM", ((16, 16), (16,), (512, 16))),
    ],
)
def test_heads_of_other_tasks(encoders, kind, parts):
    import transformers

    for architecture in ARCHITECTURES:
        ends = encoder.ends_of(getattr(transformers, kind).from_config(encoders.config(architecture)))
        found = [None if part is None else tuple(part.weight.shape) for part in (ends.features, ends.feature_norm)]
        expected = parts
        if architecture == "electra" and kind == "AutoModelForMaskedLM":
            expected = ((8, 16), (8,), (512, 8))
        assert (*found, tuple(ends.last.weight.shape)) == expected


def test_a_head_that_is_not_known_is_refused(encoders):
    from transformers import AutoModelForPreTraining

    with pytest.raises(ModelError, match="BertForPreTraining: a head of 4 layers is not one that Lilliput knows"):
        encoder.ends_of(AutoModelForPreTraining.from_config(encoders.config("bert")))


def test_a_bare_encoder_ends_with_its_pooler_or_its_last_block(encoders):
    from transformers import AutoModel

    for architecture in ARCHITECTURES:
        ends = encoder.ends_of(AutoModel.from_config(encoders.config(architecture)))
        assert (ends.features is not None) == (architecture in ("bert", "roberta"))
        assert ends.last is None


def test_the_activation_is_that_of_the_model(encoders):
    values = torch.linspace(-2, 2, 9)
    for architecture in ARCHITECTURES:
        name = "activation" if architecture == "distilbert" else "hidden_act"
        assert torch.equal(
            encoder.activation_of(encoders.classifier(architecture, **{name: "relu"}))(values), values.relu()
        )


def test_a_bare_encoder_has_the_same_inside(encoders):
    from transformers import AutoModel

    for architecture in ARCHITECTURES:
        bare = AutoModel.from_config(encoders.config(architecture))
        assert encoder.shape_of(bare).layers == 3
        assert len(encoder.layers_of(encoder.keep_layers(bare, (1,)))) == 1


@pytest.mark.parametrize("indices", [(), (3,), (-1,), (0, 7)])
def test_layers_that_are_not_there_are_refused(encoders, indices):
    with pytest.raises(ConfigError, match=r"the layers that it starts from are numbered 0 to 2"):
        encoder.keep_layers(encoders.classifier("bert"), indices)


def test_another_architecture_is_refused():
    from transformers import GPT2Config, GPT2Model

    model = GPT2Model(GPT2Config(vocab_size=10, n_positions=8, n_embd=4, n_layer=1, n_head=1))
    with pytest.raises(ModelError) as caught:
        encoder.layers_of(model)
    assert str(caught.value) == (
        "GPT2Model: architecture 'gpt2' is not supported; supported are bert, roberta, distilbert, electra"
    )
    assert encoder.SUPPORTED == ARCHITECTURES


@torch.no_grad()
def test_the_longest_input_is_the_longest_that_works(model):
    longest = encoder.longest_input(model)
    assert longest == 40
    ids = torch.full((1, longest + 1), 5)
    assert model(input_ids=ids[:, :longest]).logits.isfinite().all()
    with pytest.raises((IndexError, RuntimeError)):
        model(input_ids=ids)


@pytest.mark.parametrize(
    ("architecture", "names"),
    [
        ("bert", ("input_ids", "attention_mask", "token_type_ids")),
        ("electra", ("input_ids", "attention_mask", "token_type_ids")),
        ("distilbert", ("input_ids", "attention_mask")),
        ("roberta", ("input_ids", "attention_mask")),
    ],
)
def test_inputs_are_those_that_tokenizer_and_model_share(tiny, encoders, architecture, names):
    model = encoders.classifier(architecture)
    assert encoder.input_names_of(model, encoders.tokenizer(architecture, tiny.tokenizer)) == names
    # A tokenizer that makes more than the model reads, or less.
    everything = encoders.tokenizer("bert", tiny.tokenizer)
    assert encoder.input_names_of(model, everything) == names
    everything.model_input_names = ["input_ids", "attention_mask"]
    assert encoder.input_names_of(model, everything) == ("input_ids", "attention_mask")


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_logits_at_chosen_tokens_are_those_of_all_tokens(architecture, encoders):
    from transformers import AutoModelForMaskedLM

    torch.manual_seed(0)
    model = AutoModelForMaskedLM.from_config(encoders.config(architecture, labels=None)).eval()
    batch, chosen = inputs(), torch.zeros(2, 9, dtype=torch.bool)
    chosen[0, 3] = chosen[1, 1] = chosen[1, 4] = True
    with torch.no_grad():
        every = model(**batch).logits
        with encoder.only_at(model, chosen):
            some = model(**batch).logits
        assert torch.equal(model(**batch).logits, every)  # the hook is gone
    assert torch.allclose(some, every[chosen], atol=1e-6)
