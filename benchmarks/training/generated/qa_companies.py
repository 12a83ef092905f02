"""Facts about companies and towns: ``{S}`` is the company or the town, ``{A}`` the answer."""

from __future__ import annotations

from lilliput.benchmarks.training.generated.qa_facts import fact

COMPANIES = {
    "founder": fact(
        "ORG",
        "PER",
        """
        {A} started {S}.
        {A} opened {S} with a loan.
        {S} owes its existence to {A}.
        {A} built {S} up from nothing.
        {S}, founded by {A}, is still growing.
        The idea of {S} came from {A}.
        {S} was once opened by {A}.
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
        Who built {S} up?
        Who opened {S}?
        To whom does {S} owe its existence?
        {S} was founded by whom?
        Whose idea was {S}?
        Can you tell me who founded {S}?
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
    "founded": fact(
        "ORG",
        "DATE",
        """
        {S} was opened in {A}.
        {S} has been in business since {A}.
        {S}, founded in {A}, is still growing.
        {S} was set up in {A}.
        It was in {A} that {S} was founded.
        {A} was the first year of {S}.
        {S} was registered as a company in {A}.
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
        When was {S} opened?
        When was {S} set up?
        What year was {S} founded?
        From which year does {S} date?
        How long has {S} been in business, since which year?
        Can you tell me when {S} was founded?
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
    "seat": fact(
        "ORG",
        "LOC",
        """
        {S} is at home in {A}.
        {S} is a company from {A}.
        The head office of {S} is in {A}.
        {S} is registered in {A}.
        {S} has been based in {A} from the start.
        {A} is the seat of {S}.
        {S} is managed from {A}.
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
        Which town is the seat of {S}?
        In which town is {S} based?
        Where is {S} at home?
        Where is {S} registered?
        From which town is {S} managed?
        Can you tell me where {S} is based?
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
    "staff": fact(
        "ORG",
        "number",
        """
        {S} has a staff of {A}.
        {A} people earn their living at {S}.
        There are {A} people on the staff of {S}.
        {S} has {A} workers.
        At {S}, {A} people have a job.
        {S} has hired {A} people so far.
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
        How many workers does {S} have?
        How many people have a job at {S}?
        How many people are employed by {S}?
        What is the size of the staff of {S}?
        To how many people does {S} give work?
        Can you tell me how many people work for {S}?
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
    "product": fact(
        "ORG",
        "product",
        """
        {S} builds {A}.
        {S} is a maker of {A}.
        {A} are made by {S}.
        {S} earns its money with {A}.
        If you need {A}, ask {S}.
        {S} began to make {A} in a shed.
        The factory of {S} turns out {A}.
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
        What is made by {S}?
        What does {S} build?
        With what does {S} earn its money?
        What can one buy from {S}?
        What does the factory of {S} turn out?
        Can you tell me what {S} makes?
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
    "mayor": fact(
        "LOC",
        "PER",
        """
        {S} has a mayor called {A}.
        As mayor of {S}, {A} opened the bridge.
        {A} is at the head of {S}, a mayor whom all respect.
        {A}, the mayor of {S}, likes to talk.
        In {S} the mayor is {A}.
        {A} became mayor of {S}.
        {S} chose {A} as its mayor.
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
        Who is at the head of {S}?
        What is the mayor of {S} called?
        Who is mayor in {S}?
        Who became mayor of {S}?
        For whom did the people of {S} vote?
        Can you tell me who the mayor of {S} is?
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
    "population": fact(
        "LOC",
        "number",
        """
        {S} has {A} residents.
        There are {A} people in {S}.
        {S} has grown to {A} people.
        In {S} live {A} people.
        {A} people call {S} their home.
        {S} is a town of {A}.
        The census found {A} people in {S}.
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
        How many residents does {S} have?
        How many people are there in {S}?
        How many people call {S} their home?
        How many live in {S}?
        Can you tell me how many people live in {S}?
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
