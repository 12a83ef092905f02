"""Masking: rates, what is never masked, whole words; and the loss, against the library's own."""

import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.functional import cross_entropy

from lilliput.errors import ConfigError
from lilliput.tasks import IGNORED
from lilliput.train.masking import MaskedLanguageModelling, Masking, masked_logits

TEXT = "the film was good from start to finish naïve café unloving untexting verylong 漢字 naming, joyed ?"


@pytest.fixture(scope="session")
def word_piece(tiny):
    return tiny.tokenizer()


@pytest.fixture(scope="session")
def byte_level(encoders, tiny):
    return encoders.tokenizer("roberta", tiny.tokenizer)


def batch_of(tokenizer, rows, text=TEXT):
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    middle = [tokenizer.sep_token_id, *ids[:5], tokenizer.unk_token_id, tokenizer.pad_token_id]
    return torch.tensor([[tokenizer.cls_token_id, *ids, *middle]] * rows)


def within(count, of, share, sigmas=5):
    """Whether a count is near its expectation: it is that of a binomial distribution."""
    return abs(count - of * share) < sigmas * (of * share * (1 - share)) ** 0.5


@pytest.mark.parametrize("rate", [0.15, 0.4])
@pytest.mark.parametrize("whole_words", [False, True])
@pytest.mark.parametrize("kind", ["word_piece", "byte_level"])
def test_rates(request, kind, whole_words, rate):
    tokenizer = request.getfixturevalue(kind)
    ids = batch_of(tokenizer, 4000)
    torch.manual_seed(0)
    corrupted, labels = Masking(tokenizer, rate, whole_words)(ids)
    special = torch.isin(ids, torch.tensor(tokenizer.all_special_ids))
    chosen = labels != IGNORED
    assert not (chosen & special).any()
    assert (labels[chosen] == ids[chosen]).all()
    assert (labels[~chosen] == IGNORED).all()
    assert (corrupted[~chosen] == ids[~chosen]).all()
    columns = (~special[0]).nonzero().ravel()
    for column in columns:  # the rows are independent
        assert within(chosen[:, column].sum(), len(ids), rate)
    count = int(chosen.sum())
    masked, kept = corrupted[chosen] == tokenizer.mask_token_id, corrupted[chosen] == ids[chosen]
    random_hit = 0.1 / (len(tokenizer.get_vocab()) - len(tokenizer.all_special_ids))  # another token is the same one
    assert within(masked.sum(), count, 0.8)
    assert within(kept.sum(), count, 0.1 + random_hit)
    replaced = corrupted[chosen][~masked & ~kept]
    assert within(len(replaced), count, 0.1 - random_hit)
    assert not torch.isin(replaced, torch.tensor(tokenizer.all_special_ids)).any()
    assert len(replaced.unique()) > 0.9 * len(tokenizer.get_vocab())  # of about 2,000 draws or more, uniform


def words_of(row, tokenizer):
    """The places of each word's tokens, by the names of the tokens."""
    names = tokenizer.convert_ids_to_tokens(row)
    words = []
    for place, name in enumerate(names):
        if name in tokenizer.all_special_tokens:
            words.append([])
        elif not words or not words[-1] or not continues(name, tokenizer):
            words.append([place])
        else:
            words[-1].append(place)
    return [word for word in words if word]


def continues(name, tokenizer):
    if "##a" in tokenizer.get_vocab():
        return name.startswith("##")
    return tokenizer.backend_tokenizer.decoder.decode([name])[0] not in " \t\n\r\v\f"


@pytest.mark.parametrize("kind", ["word_piece", "byte_level"])
def test_whole_words_are_masked_or_not(request, kind):
    tokenizer = request.getfixturevalue(kind)

    @given(
        ids=st.lists(st.sampled_from(sorted(tokenizer.get_vocab().values())), min_size=1, max_size=30),
        seed=st.integers(0),
    )
    def check(ids, seed):
        generator = torch.Generator().manual_seed(seed % 2**63)
        _, labels = Masking(tokenizer, 0.5, whole_words=True)(torch.tensor([ids, ids]), generator)
        words = words_of(ids, tokenizer)
        for row in labels:
            for word in words:
                assert len({bool(label == IGNORED) for label in row[word]}) == 1
        assert {place for word in words for place in word} >= set((labels[0] != IGNORED).nonzero().ravel().tolist())

    check()
    ids = batch_of(tokenizer, 2000)
    torch.manual_seed(0)
    chosen = Masking(tokenizer, 0.5, whole_words=True)(ids)[1] != IGNORED
    words = words_of(ids[0].tolist(), tokenizer)
    assert any(len(word) > 2 for word in words)
    for one, other in itertools.pairwise(words):  # neighbours are chosen independently
        assert within((chosen[:, one[0]] == chosen[:, other[0]]).sum(), len(ids), 0.5)


def test_words_are_those_that_the_tokenizer_splits(word_piece):
    encoded = word_piece(TEXT)
    groups = itertools.groupby(enumerate(encoded.word_ids()), key=lambda pair: pair[1])
    expected = [[place for place, _ in group] for word, group in groups if word is not None]
    assert words_of(encoded["input_ids"], word_piece) == expected


def test_whole_words_need_tokens_that_say_where_words_begin():
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast

    named = {"unk_token": "[UNK]", "mask_token": "[MASK]", "pad_token": "[PAD]"}
    vocabulary = {"[PAD]": 0, "[UNK]": 1, "[MASK]": 2, "a": 3}
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.WordLevel(vocabulary, "[UNK]")), **named)
    Masking(tokenizer, 0.15)
    with pytest.raises(ConfigError, match="--whole-words: the tokens of this tokenizer don't say where words begin"):
        Masking(tokenizer, 0.15, whole_words=True)


def test_each_call_masks_anew_and_a_seed_again(word_piece):
    ids, mask = batch_of(word_piece, 4), Masking(word_piece, 0.15)
    torch.manual_seed(3)
    first, second = mask(ids), mask(ids)
    torch.manual_seed(3)
    again = mask(ids)
    assert not torch.equal(first[0], second[0])
    assert torch.equal(first[0], again[0])
    assert torch.equal(first[1], again[1])
    before = torch.get_rng_state()
    fixed = [mask(ids, torch.Generator().manual_seed(7))[0] for _ in range(2)]
    assert torch.equal(*fixed)
    assert torch.equal(before, torch.get_rng_state())  # one of its own leaves the global one alone


@pytest.mark.parametrize("architecture", ["bert", "roberta", "distilbert", "electra"])
def test_the_loss_is_the_library_s(encoders, tiny, architecture):
    from transformers import AutoModelForMaskedLM

    tokenizer = encoders.tokenizer(architecture, tiny.tokenizer)
    torch.manual_seed(0)
    model = AutoModelForMaskedLM.from_config(encoders.config(architecture)).eval()
    ids = batch_of(tokenizer, 3, "the film was good")
    torch.manual_seed(1)
    loss = MaskedLanguageModelling(Masking(tokenizer, 0.3), tokenizer.pad_token_id)(model, {"input_ids": ids})
    torch.manual_seed(1)
    corrupted, labels = Masking(tokenizer, 0.3)(ids)
    chosen = labels != IGNORED
    assert chosen.sum() > 3
    whole = model(input_ids=corrupted, attention_mask=(ids != tokenizer.pad_token_id).long(), labels=labels)
    assert loss.item() == pytest.approx(whole.loss.item(), rel=1e-5)
    logits, tokens = masked_logits(model, corrupted, labels, tokenizer.pad_token_id)
    torch.testing.assert_close(logits, whole.logits[chosen])
    assert torch.equal(tokens, ids[chosen])
    rows = whole.logits[chosen].detach().double()
    by_hand = [-row.softmax(0)[token].log().item() for row, token in zip(rows, tokens, strict=True)]
    assert loss.item() == pytest.approx(sum(by_hand) / len(by_hand), rel=1e-5)
    loss.backward()
    ours = {name: weight.grad.clone() for name, weight in model.named_parameters() if weight.grad is not None}
    model.zero_grad()
    whole.loss.backward()
    for name, weight in model.named_parameters():
        if weight.grad is not None:
            torch.testing.assert_close(ours[name], weight.grad, rtol=1e-4, atol=1e-6)


def test_a_batch_without_a_chosen_token_has_no_loss(encoders, tiny):
    from transformers import AutoModelForMaskedLM

    model, tokenizer = AutoModelForMaskedLM.from_config(encoders.config("bert")), tiny.tokenizer()
    ids = torch.tensor([[tokenizer.cls_token_id, tokenizer.sep_token_id]])
    loss = MaskedLanguageModelling(Masking(tokenizer, 0.3), tokenizer.pad_token_id)(model, {"input_ids": ids})
    loss.backward()
    assert loss.item() == 0
    assert all((weight.grad == 0).all() for weight in model.parameters() if weight.grad is not None)


def test_a_wrapped_model_is_reached(encoders, tiny):
    """Training on several devices wraps the model."""
    from transformers import AutoModelForMaskedLM

    class Wrapped(torch.nn.Module):
        def __init__(self, module):
            super().__init__()
            self.module = module

        def forward(self, **inputs):
            return self.module(**inputs)

    model, tokenizer = AutoModelForMaskedLM.from_config(encoders.config("bert")).eval(), tiny.tokenizer()
    corrupted, labels = Masking(tokenizer, 0.3)(batch_of(tokenizer, 2, "the film"), torch.Generator().manual_seed(0))
    one, _ = masked_logits(model, corrupted, labels, tokenizer.pad_token_id)
    other, tokens = masked_logits(Wrapped(model), corrupted, labels, tokenizer.pad_token_id)
    assert torch.equal(one, other)
    assert cross_entropy(one, tokens).isfinite()
