"""What contexts of the question-answering data are made of: facts, sentences between them, and what fills them.

``{S}`` is the subject of a fact, ``{A}`` the answer. Statements and questions of training, validation and test are
apart.
"""

from __future__ import annotations

from lilliput.benchmarks.training.generated.qa_companies import COMPANIES
from lilliput.benchmarks.training.generated.qa_people import PEOPLE
from lilliput.benchmarks.training.generated.sentences import lines

FACTS = {**PEOPLE, **COMPANIES}

PADDING = {
    "train": lines(
        """
        The weather was fine for weeks.
        Nobody knows what will happen next.
        Not everyone agrees.
        The newspapers wrote about it at length.
        A lot has changed since then.
        There is little else to report.
        """
    ),
    "validation": lines("Little of this is widely known.\nSome say otherwise."),
    "test": lines("Few outsiders ever noticed.\nThe archive has more on this.\nOpinions differ."),
}

JOBS = """teacher engineer poet plumber banker chemist nurse judge pilot baker senator goalkeeper farmer clerk sculptor
bishop waiter historian sailor carpenter dentist drummer florist gardener hunter jeweller librarian locksmith mechanic
midwife miner optician painter pharmacist photographer potter shepherd surgeon tailor translator violinist watchmaker"""
HOBBIES = """chess, stamp collecting, rowing, bird watching, origami, karaoke, fencing, knitting, beekeeping, archery,
surfing, calligraphy, juggling, yoga, rock climbing, cooking, astronomy, ballet, fishing, gymnastics, sailing, judo,
crossword puzzles, skating, magic tricks, embroidery, table tennis, genealogy, snowboarding, woodcarving, badminton"""
MATERIALS = "solar steel paper cotton glass wooden plastic copper silk rubber leather carbon ceramic woollen digital"
GOODS = "pumps chairs bottles shirts engines toys lamps cables bicycles boats tiles carpets clocks gloves sensors"
