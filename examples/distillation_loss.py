"""One loss of Lilliput in a loop of your own: `python examples/distillation_loss.py TEACHER STUDENT texts.txt out`.

TEACHER and STUDENT are folders or Hub ids of sequence classifiers with the same labels and the same tokenizer; the
texts have no labels, one a line. Nothing else of Lilliput is used: the loop is plain PyTorch.
"""

import argparse
from pathlib import Path

import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from lilliput.compress.objectives import soft_targets


def distil(teacher, student, tokenizer, texts: list[str], epochs: int, temperature: float = 2.0) -> list[float]:
    """Train ``student`` to answer as ``teacher`` does; the mean loss of each epoch."""
    optimizer = torch.optim.AdamW(student.parameters(), lr=3e-4)
    teacher.eval()
    student.train()
    means = []
    for _ in range(epochs):
        losses = []
        for rows in torch.randperm(len(texts)).split(32):
            batch = tokenizer([texts[row] for row in rows], padding=True, truncation=True, return_tensors="pt")
            with torch.no_grad():
                wanted = teacher(**batch).logits
            loss = soft_targets.loss(student(**batch).logits, wanted, temperature=temperature)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        means.append(sum(losses) / len(losses))
    return means


def main() -> None:
    """Distil as the command line says, and save the student."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("teacher")
    parser.add_argument("student")
    parser.add_argument("texts", type=Path, help="a text a line")
    parser.add_argument("out", type=Path, help="folder of the result")
    parser.add_argument("--epochs", type=int, default=3)
    given = parser.parse_args()
    torch.manual_seed(0)
    tokenizer = AutoTokenizer.from_pretrained(given.teacher)
    teacher, student = (
        AutoModelForSequenceClassification.from_pretrained(one) for one in (given.teacher, given.student)
    )
    texts = given.texts.read_text(encoding="utf-8").splitlines()
    for epoch, loss in enumerate(distil(teacher, student, tokenizer, texts, given.epochs), start=1):
        print(f"epoch {epoch}: loss {loss:.4f}")
    student.save_pretrained(given.out)
    tokenizer.save_pretrained(given.out)


if __name__ == "__main__":
    main()
