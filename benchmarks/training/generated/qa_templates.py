"""Facts of the question-answering data: who or what one is about, what the answer is, how it is stated and asked.

``{S}`` is the subject, ``{A}`` the answer. Statements and questions of training, validation and test are apart.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from lilliput.benchmarks.training.generated.sentences import lines


@dataclass(frozen=True)
class Fact:
    """A kind of fact: slots of its subject and of its answer, statements and questions by part of the data."""

    subject: str
    answer: str
    statements: Mapping[str, tuple[str, ...]]
    questions: Mapping[str, tuple[str, ...]]


def _fact(subject: str, answer: str, statements: str, questions: str) -> Fact:
    """Statements and questions, a line each; the last two are of the test, the one before them of validation."""

    def cut(text: str) -> dict[str, tuple[str, ...]]:
        every = lines(text)
        return {"train": every[:-3], "validation": every[-3:-2], "test": every[-2:]}

    return Fact(subject, answer, cut(statements), cut(questions))


FACTS = {
    "birthplace": _fact(
        "PER",
        "LOC",
        """
        {S} was born in {A}.
        {S} comes from {A}.
        {S} spent a happy childhood in {A}, the town of her birth.
        {A} is the birthplace of {S}.
        {S} first saw the light of day in {A}.
        {S}, a native of {A}, rarely talks about it.
        The birth certificate of {S} was issued in {A}.
        {S} was born and raised in {A}.
        {S} hails from {A}.
        {S} entered the world in a small clinic in {A}.
        """,
        """
        Where was {S} born?
        In which place was {S} born?
        What is the birthplace of {S}?
        Where does {S} come from?
        {S} was born where?
        Which town is the birthplace of {S}?
        Name the place of birth of {S}.
        Where did {S} come into the world?
        From which town does {S} originate?
        """,
    ),
    "birth": _fact(
        "PER",
        "DATE",
        """
        {S} was born in {A}.
        {S} came into the world in {A}.
        {S} was a child of {A}.
        In {A} the parents of {S} had their first baby, the later star.
        The year of birth of {S} is {A}.
        {S} was born to a poor family in {A}.
        The birth of {S} was recorded in {A}.
        {S} saw the light of day in {A}.
        The church book gives {A} as the year in which {S} was born.
        """,
        """
        When was {S} born?
        In what year was {S} born?
        What is the year of birth of {S}?
        {S} was born in which year?
        In which year did the birth of {S} take place?
        When did {S} come into the world?
        Which year was {S} born in?
        What year marks the birth of {S}?
        """,
    ),
    "employer": _fact(
        "PER",
        "ORG",
        """
        {S} works for {A}.
        {S} is employed by {A}.
        {S} earns a living at {A}.
        {A} pays the salary of {S}.
        {S} has a desk at {A}.
        {S} signed a contract with {A} and still works there.
        {S} has been on the staff of {A} for years.
        {S} holds a position at {A}.
        The employer of {S} is {A}.
        """,
        """
        Who does {S} work for?
        Where does {S} work?
        Which company employs {S}?
        Who is the employer of {S}?
        By whom is {S} employed?
        At which firm does {S} work?
        What is the name of the employer of {S}?
        For which company does {S} work?
        """,
    ),
    "job": _fact(
        "PER",
        "job",
        """
        {S} works as a {A}.
        {S} is a {A} by trade.
        {S} trained as a {A} and loves it.
        {S} makes a living as a {A}.
        By profession {S} is a {A}.
        {S}, a {A}, gets up early.
        {S} became a {A} against all advice.
        {S} has always been a passionate {A}.
        As a {A}, {S} is known for great care.
        """,
        """
        What is the job of {S}?
        What does {S} do for a living?
        What is the profession of {S}?
        What is the occupation of {S}?
        As what does {S} work?
        Which job does {S} have?
        What kind of work does {S} do?
        Which profession did {S} choose?
        """,
    ),
    "hobby": _fact(
        "PER",
        "hobby",
        """
        {S} likes {A}.
        {S} spends every weekend on {A}.
        {S} is mad about {A}.
        In the evening {S} relaxes with {A}.
        {S} took up {A} at school.
        The great passion of {S} is {A}.
        {S} has a hobby, {A}.
        {S} fills the spare time with {A}.
        {S} enjoys nothing more than {A}.
        """,
        """
        What is the hobby of {S}?
        What does {S} like to do?
        What does {S} do in the evening or on weekends?
        Which hobby does {S} have?
        What is {S} mad about?
        How does {S} spend free time?
        What is the favourite pastime of {S}?
        What does {S} do for fun?
        """,
    ),
    "spouse": _fact(
        "PER",
        "PER",
        """
        {S} is married to {A}.
        {S} married {A} last summer.
        {S} and {A} are a married couple.
        {A} is the husband of {S}.
        {S} lives with {A}, to whom she is married.
        The wedding of {S} and {A} was a quiet one.
        {S} exchanged rings with {A}.
        {A} is the wife of {S}.
        {S} tied the knot with {A}.
        """,
        """
        Who is {S} married to?
        Who did {S} marry?
        To whom is {S} married?
        Who is the husband of {S}?
        Who is the wife of {S}?
        Who is the partner of {S}?
        Who is the spouse of {S}?
        Whom did {S} wed?
        """,
    ),
    "founder": _fact(
        "ORG",
        "PER",
        """
        {S} was founded by {A}.
        {A} founded {S}.
        {A} is the founder of {S}.
        {S} was started by {A} in a garage.
        The founder of {S} is {A}.
        {A} set up {S} with borrowed money.
        {S} is the creation of {A}.
        {S} was established by {A}.
        It was {A} who brought {S} into being.
        """,
        """
        Who founded {S}?
        Who is the founder of {S}?
        By whom was {S} founded?
        Who started {S}?
        Who set up {S}?
        What is the name of the founder of {S}?
        Who established {S}?
        Who created {S}?
        """,
    ),
    "founded": _fact(
        "ORG",
        "DATE",
        """
        {S} was founded in {A}.
        {S} has existed since {A}.
        {S} opened its doors in {A}.
        In {A}, {S} began with two people.
        {S} dates back to {A}.
        The founding year of {S} is {A}.
        {S} started trading in {A}.
        {S} was established in {A}.
        The history of {S} begins in {A}.
        """,
        """
        When was {S} founded?
        In which year was {S} founded?
        Since when has {S} existed?
        When did {S} open its doors?
        What is the founding year of {S}?
        When did {S} start?
        In what year was {S} established?
        When did the history of {S} begin?
        """,
    ),
    "seat": _fact(
        "ORG",
        "LOC",
        """
        {S} is based in {A}.
        {S} has its head office in {A}.
        The headquarters of {S} are in {A}.
        {S} is run from {A}.
        {S} resides in an old mill in {A}.
        {S} of {A} is well known.
        {S} has its seat in {A}.
        {S} is headquartered in {A}.
        The main building of {S} stands in {A}.
        """,
        """
        Where is {S} based?
        Where are the headquarters of {S}?
        In which town does {S} have its head office?
        Where does {S} have its seat?
        From where is {S} run?
        What is the seat of {S}?
        In what place is {S} headquartered?
        Where is the head office of {S}?
        """,
    ),
    "staff": _fact(
        "ORG",
        "number",
        """
        {S} employs {A} people.
        {S} has {A} employees.
        {A} people work for {S}.
        The staff of {S} numbers {A}.
        {S} gives work to {A} men and women.
        {S} pays {A} workers.
        {S} has a workforce of {A}.
        On the payroll of {S} there are {A} names.
        {S} provides jobs for {A} people.
        """,
        """
        How many people does {S} employ?
        How many employees does {S} have?
        How many people work for {S}?
        How large is the staff of {S}?
        How many workers does {S} pay?
        What is the number of employees of {S}?
        How big is the workforce of {S}?
        How many jobs does {S} provide?
        """,
    ),
    "product": _fact(
        "ORG",
        "product",
        """
        {S} makes {A}.
        {S} produces {A}.
        {S} is known for its {A}.
        {S} sells {A} all over the world.
        The main product of {S} is {A}.
        {S} lives on {A}.
        {S} manufactures {A}.
        {S} specialises in {A}.
        From the factories of {S} come {A}.
        """,
        """
        What does {S} make?
        What does {S} produce?
        What is {S} known for?
        What does {S} sell?
        Which goods come from {S}?
        What is the main product of {S}?
        What does {S} manufacture?
        Which product does {S} specialise in?
        """,
    ),
    "mayor": _fact(
        "LOC",
        "PER",
        """
        The mayor of {S} is {A}.
        {A} is the mayor of {S}.
        {S} is governed by its mayor, {A}.
        {S} elected {A} as mayor.
        {A} has been mayor of {S} for years.
        The people of {S} voted for {A}, who is now the mayor.
        {S} has a popular mayor, {A}.
        {A} runs the town hall of {S} as its mayor.
        {A} was sworn in as mayor of {S}.
        """,
        """
        Who is the mayor of {S}?
        Who governs {S}?
        What is the name of the mayor of {S}?
        Whom did {S} elect as mayor?
        Who was elected in {S}?
        {S} has which mayor?
        Which politician is the mayor of {S}?
        Who holds the office of mayor in {S}?
        """,
    ),
    "population": _fact(
        "LOC",
        "number",
        """
        {S} has {A} inhabitants.
        {A} people live in {S}.
        {S} is home to {A} people.
        The population of {S} is {A}.
        At the last count {S} had {A} residents.
        {S} counts {A} souls.
        {S} has a population of {A}.
        {A} persons are registered in {S}.
        {S} houses {A} citizens.
        """,
        """
        How many people live in {S}?
        How many inhabitants does {S} have?
        What is the population of {S}?
        How large is the population of {S}?
        How many residents were counted in {S}?
        {S} is home to how many people?
        What is the number of inhabitants of {S}?
        How many citizens does {S} have?
        """,
    ),
}

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
