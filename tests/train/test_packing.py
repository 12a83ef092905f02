"""Packing: every token once and in order, blocks full, boundaries right, at constant memory."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lilliput.errors import DataError
from lilliput.train import packing
from lilliput.train.corpus import Document

LENGTH = 7
WORDS = st.text(st.sampled_from("abß漢\n\t.,😀\u00ad"), max_size=8)  # the longest are as long as a small piece
TEXTS = st.lists(
    st.tuples(st.lists(WORDS, max_size=12).map(" ".join), st.booleans()).map(lambda parts: Document(*parts)),
    max_size=25,
)


class Corpus:
    """Documents as they are, with a training and a held-out one in front."""

    name = "test"

    def __init__(self, documents):
        self.all = [Document("a film", False), Document("a joy", True), *documents]

    def documents(self, tally, progress=None, what=""):
        for document in self.all:
            tally.training += not document.held_out
            tally.held_out += document.held_out
            yield document


@pytest.fixture(scope="session")
def word_piece(tiny):
    return tiny.tokenizer()


@pytest.fixture(scope="session")
def byte_level(encoders, tiny):
    return encoders.tokenizer("roberta", tiny.tokenizer)


@pytest.fixture
def small(monkeypatch):
    """Batches and pieces so small that a few documents make several."""
    monkeypatch.setattr(packing, "BATCH", 3)
    monkeypatch.setattr(packing, "PIECES", 4)
    monkeypatch.setattr(packing, "LONGEST_PIECE", 9)


def ids_of(tokenizer, text):
    """The tokens of a text, by a way of its own."""
    return tokenizer.backend_tokenizer.encode(text, add_special_tokens=False).ids


def unpack(path, tokenizer):
    """Token ids of each document in the blocks of a file; checks their form on the way."""
    blocks = packing.blocks_of(path)
    assert list(blocks["row"]) == list(range(len(blocks)))
    rows = np.stack(blocks["input_ids"])
    assert rows.shape == (len(blocks), LENGTH)
    assert (rows[:, 0] == tokenizer.cls_token_id).all()
    stream = rows[:, 1:].ravel().tolist()
    padding = tokenizer.pad_token_id
    assert padding not in stream[: -(LENGTH - 2)]  # at most the last block is not full, and it holds a token
    stream = [number for number in stream if number != padding]
    assert tokenizer.cls_token_id not in stream
    assert stream[-1] == tokenizer.sep_token_id
    documents = [[]]
    for number in stream[:-1]:
        if number == tokenizer.sep_token_id:
            documents.append([])
        else:
            documents[-1].append(number)
    return documents


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("kind", ["word_piece", "byte_level"])
def test_every_token_of_every_document_is_there_once_and_in_order(request, tmp_path_factory, kind):
    tokenizer = request.getfixturevalue(kind)

    @given(documents=TEXTS)
    def check(documents):
        folder = tmp_path_factory.mktemp("packed")
        corpus = Corpus(documents)
        facts = packing.pack(corpus, tokenizer, LENGTH, folder)
        for name, held_out, prefix in ((packing.TRAINING, False, ""), (packing.HELD_OUT, True, "held_out_")):
            texts = [document.text for document in corpus.all if document.held_out == held_out]
            expected = [ids for ids in (ids_of(tokenizer, text) for text in texts) if ids]
            assert unpack(folder / name, tokenizer) == expected
            count = sum(map(len, expected))
            assert facts[f"{prefix}tokens"] == count
            assert facts[f"{prefix}documents"] == len(texts)
            assert facts[f"{prefix}blocks"] == -(-(count + len(expected)) // (LENGTH - 1))
            if not held_out:
                counts = np.bincount([number for ids in expected for number in ids])
                counts[tokenizer.unk_token_id :][:1] = 0
                assert counts[facts["most_frequent_token"]] == counts.max()

    check()


def test_blocks_worked_out_by_hand(tmp_path, word_piece):
    def named(file):
        return [word_piece.convert_ids_to_tokens(row) for row in packing.blocks_of(tmp_path / file)["input_ids"]]

    corpus = Corpus([Document("the film was good", False), Document("an awful movie", False)])
    packing.pack(corpus, word_piece, LENGTH, tmp_path)
    assert named(packing.TRAINING) == [
        ["[CLS]", "a", "film", "[SEP]", "the", "film", "was"],
        ["[CLS]", "good", "[SEP]", "an", "awful", "movie", "[SEP]"],
    ]
    assert named(packing.HELD_OUT) == [["[CLS]", "a", "joy", "[SEP]", "[PAD]", "[PAD]", "[PAD]"]]


def test_text_that_looks_like_a_special_token_is_text(tmp_path, word_piece):
    packing.pack(Corpus([Document("[SEP] a [MASK] film [PAD]", False)]), word_piece, 64, tmp_path)
    (block,) = packing.blocks_of(tmp_path / packing.TRAINING)["input_ids"]
    count = {
        name: int((block == word_piece.convert_tokens_to_ids(name)).sum()) for name in ("[SEP]", "[MASK]", "[CLS]")
    }
    assert count == {"[SEP]": 2, "[MASK]": 0, "[CLS]": 1}
    assert word_piece("a [MASK]")["input_ids"][-2] == word_piece.mask_token_id  # the tokenizer is as it was


@pytest.mark.parametrize("kind", ["word_piece", "byte_level"])
def test_a_long_document_is_cut_where_its_tokens_are(request, monkeypatch, kind):
    tokenizer = request.getfixturevalue(kind)
    monkeypatch.setattr(packing, "LONGEST_PIECE", 50)
    text = "the film  was good, and  from start to   finish a joy. " * 20 + "x" * 120
    found = list(packing.pieces(Document(text, True)))
    assert len(found) > 20
    assert "".join(piece.text for piece in found) == text
    assert all(len(piece.text) <= 50 and piece.held_out for piece in found)
    assert [piece.last for piece in found] == [False] * (len(found) - 1) + [True]
    text = text.rstrip("x")  # a word that is longer than a piece is cut
    found = list(packing.pieces(Document(text, True)))
    ids = packing.tokens_of([piece.text for piece in found], tokenizer)
    assert [number for piece in ids for number in piece] == ids_of(tokenizer, text)


def test_documents_without_a_token_are_not_enough(tmp_path, word_piece):
    corpus = Corpus([])
    corpus.all = [Document("\u00ad", False), Document("a joy", True)]
    with pytest.raises(DataError, match="test: the tokenizer finds no token in the training documents; give other"):
        packing.pack(corpus, word_piece, LENGTH, tmp_path)


def test_a_larger_corpus_takes_no_more_memory(tmp_path, word_piece):
    """Peak of what Python and NumPy allocate, for a corpus and for one four times as large."""
    text = "the film was good from start to finish , an awful movie it was not . " * 3

    class Endless(Corpus):
        def __init__(self, count):
            self.count = count

        def documents(self, tally, progress=None, what=""):
            for number in range(self.count):
                yield Document(text, number % 50 == 0)

    peaks = []
    for count in (4000, 16_000):
        tracemalloc.start()
        packing.pack(Endless(count), word_piece, 32, tmp_path)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.2 * peaks[0] < 2_000_000  # the blocks of the larger one are 3 MB


def test_a_batch_is_made_of_rows(tmp_path, word_piece):
    packing.pack(Corpus([]), word_piece, LENGTH, tmp_path)
    blocks = packing.blocks_of(tmp_path / packing.TRAINING)
    batch = packing.collate(blocks.__getitems__([0, 0]))
    assert batch["input_ids"].tolist() == [blocks[0]["input_ids"].tolist()] * 2
    assert str(batch["input_ids"].dtype) == "torch.int64"
    assert batch["row"].tolist() == [0, 0]
