"""Facts about people: ``{S}`` is the person, ``{A}`` the answer."""

from __future__ import annotations

from lilliput.benchmarks.training.generated.qa_facts import fact

PEOPLE = {
    "birthplace": fact(
        "PER",
        "LOC",
        """
        {S} is a native of {A}.
        {S} was born in a hospital in {A}.
        The cradle of {S} stood in {A}.
        {A} is the town where {S} was born.
        {S} is from {A} by birth.
        A plaque in {A} marks the house where {S} was born.
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
        What is the native town of {S}?
        Of which town is {S} a native?
        Where did the life of {S} begin?
        Can you tell me where {S} was born?
        Where is {S} from?
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
    "birth": fact(
        "PER",
        "DATE",
        """
        {S} was born in the spring of {A}.
        {A} was the year in which {S} was born.
        {S} has lived since {A}.
        Born in {A}, {S} is no longer young.
        The passport of {S} says: born in {A}.
        The life of {S} began in {A}.
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
        What year was {S} born?
        Since when has {S} lived?
        Can you tell me when {S} was born?
        In which year did the life of {S} begin?
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
    "employer": fact(
        "PER",
        "ORG",
        """
        {S} has a job at {A}.
        {S} was hired by {A} and stayed.
        {S} gets a salary from {A}.
        {S} has worked at {A} for ten years.
        {A} has a good worker in {S}.
        {S} goes to work at {A} by bicycle.
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
        Where is {S} employed?
        Which firm employs {S}?
        Who pays the salary of {S}?
        Where does {S} have a job?
        On whose staff is {S}?
        Can you tell me who {S} works for?
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
    "job": fact(
        "PER",
        "job",
        """
        {S} is a {A}.
        {S} is employed as a {A}.
        {S}, who is a {A}, lives alone.
        The job of {S} is that of a {A}.
        {S} is the best {A} in the street.
        Everyone needs a {A} such as {S}.
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
        What is {S}?
        What did {S} become?
        What is {S} by trade?
        By profession, what is {S}?
        How does {S} make a living?
        What did {S} train as?
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
    "hobby": fact(
        "PER",
        "hobby",
        """
        {S} loves {A}.
        {S} has time for {A} on Sundays.
        {S} is fond of {A}.
        The hobby of {S} is {A}.
        In her free time, {S} goes in for {A}.
        After work {S} turns to {A}.
        {S} never grows tired of {A}.
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
        What does {S} love?
        What is {S} fond of?
        What does {S} do after work?
        What does {S} do in her free time?
        What is {S} interested in?
        What is the passion of {S}?
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
    "spouse": fact(
        "PER",
        "PER",
        """
        {S} is the husband of {A}.
        {S} is the wife of {A}.
        {S} and {A} have been married for years.
        {S} said yes when {A} proposed.
        The husband of {S} is called {A}.
        The wife of {S} is called {A}.
        {A} got married to {S}.
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
        What is the name of the husband of {S}?
        What is the name of the wife of {S}?
        With whom is {S} married?
        Who married {S}?
        Whose wife is {S}?
        Whose husband is {S}?
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
}
