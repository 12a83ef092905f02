"""A grammar of sentences for training on named entities: many templates from few lines, no test template among them.

A hundred fixed templates are soon learned by heart, and then it is the template that tells the model where a place
stands. Here clauses about people, companies and places are combined, so that hardly any template occurs twice: lists,
appositions, relative clauses and dates may stand at many places of many sentences. ``<name>`` is replaced by a line of
that name, drawn at random; ``{SLOT}`` is as in the templates.
"""

from __future__ import annotations

import re
from random import Random

from lilliput.benchmarks.training.generated.sentences import lines

RULES = {
    "sentence": lines("""
    <clause>.
    <clause>.
    <clause> <when>.
    <when>, <clause>.
    <clause>, and <clause>.
    <clause>; <clause>.
    <clause>, but <clause>.
    while <clause>, <clause>.
    <clause> because <clause>.
    "<clause>," said <person>.
    <person> insists that <clause>.
    <firm> denies that <clause>.
    in <town> they say that <clause>.
    is it true that <clause>?
    <question>
    <note>
    <note>
    """),
    "clause": lines("""
    <person> <did>
    <person> <did>
    <person> <did>
    <firm> <traded>
    <firm> <traded>
    <town> <was>
    <town> <was>
    <other>
    <other>
    """),
    "when": lines("""
    in {DATE}
    in {DATE}
    on {DATE}
    since {DATE}
    after {DATE}
    before {DATE}
    by {DATE}
    as early as {DATE}
    from {DATE} to {DATE}
    at the end of {DATE}
    around {DATE}
    """),
    "person": lines("""
    {PER}
    {PER}
    {PER}
    {PER}
    {PER}
    the {job} {PER}
    {PER}, a {job},
    {PER}, a {job} from {LOC},
    {PER}, who <did>,
    {PER} of {ORG}
    {PER} from {LOC}
    {PER} and {PER}
    {PER}, {PER} and {PER}
    young {PER}
    Professor {PER}
    his sister {PER}
    their landlord, {PER},
    {ORG}'s chairman {PER}
    a certain {PER}
    """),
    "firm": lines("""
    {ORG}
    {ORG}
    {ORG}
    {ORG}
    {ORG}
    {ORG} of {LOC}
    {ORG} in {LOC}
    {ORG}, which <traded>,
    {ORG} and {ORG}
    {ORG}, {ORG} and {ORG}
    its rival {ORG}
    a branch of {ORG}
    {PER}'s employer, {ORG},
    the staff of {ORG}
    """),
    "town": lines("""
    {LOC}
    {LOC}
    {LOC}
    {LOC}
    {LOC} and {LOC}
    {LOC}, {LOC} and {LOC}
    {LOC}, {LOC}, {LOC} and {LOC}
    the town of {LOC}
    downtown {LOC}
    rural {LOC}
    {LOC}, where {PER} <did>,
    """),
    "did": lines("""
    visited <town>
    grew up in <town>
    lives near <town>
    never came back from <town>
    travelled through <town> on foot
    hitch-hiked to <town>
    hid in <town> for {n} days
    took pictures of <town>
    drew a map of <town>
    complained about the traffic in <town>
    got lost in <town>
    fled from <town> <when>
    is buried in <town>
    works for <firm>
    used to be a {job} at <firm>
    owes <firm> {n} dollars
    went to court against <firm>
    wrote a book on <firm>
    was fired by <firm>
    signed with <firm> <when>
    negotiates with <firm>
    despises <firm>
    inherited half of <firm>
    moved <firm> to <town>
    opened a branch of <firm> in <town>
    married <person>
    played cards with <person>
    phoned <person> from <town>
    is older than <person>
    painted a portrait of <person>
    introduced <person> to <person>
    beat <person> in the final
    threw a party for <person> in <town>
    followed <person> to <town>
    was taught {thing} by <person>
    knows nothing about {thing}
    gave a lecture on {thing}
    prefers {thing} to {thing}
    speaks of {thing} all day
    turned {n} <when>
    fell ill <when>
    died <when>
    was a {job}
    wants to become a {job}
    laughed
    kept the receipt of {DATE}
    """),
    "traded": lines("""
    makes tyres
    sells {thing} books
    went bust <when>
    opened a plant in <town>
    left <town> for <town>
    has a warehouse near <town>
    delivers to <town>
    pulled out of <town>
    owns most of <town>
    sponsors a club in <town>
    shipped {n} tons to <town>
    lost {n} million
    raised its prices <when>
    cut {n} jobs in <town>
    was fined {n} euros
    is listed on the stock exchange
    bought <firm>
    merged with <firm>
    borrowed money from <firm>
    is a supplier of <firm>
    competes with <firm>
    copied a patent of <firm>
    was taken over by <firm> <when>
    dismissed <person>
    appointed <person> <when>
    praised <person>
    made <person> rich
    was set up by <person>
    ignored the complaints of <person>
    lied to <person>
    published a biography of <person>
    trains every {job} in <town>
    looks for a {job}
    banned {thing} <when>
    invests in {thing}
    prints its report of {DATE} on paper
    has {n} branches
    has {n} customers in <town>
    """),
    "was": lines("""
    is a quiet place
    lies on a river
    has {n} inhabitants
    was destroyed <when>
    became rich <when>
    is famous for {thing}
    has a new mayor, <person>
    elected <person>
    mourns <person>
    honoured <person> with a medal
    gave <person> the keys of the city
    has never forgiven <person>
    is the home of <person>
    is the home of <firm>
    needs <firm>
    sued <firm>
    taxes <firm>
    voted against <firm>
    granted <firm> a licence <when>
    is larger than <town>
    lies between <town> and <town>
    declared war on <town>
    signed a treaty with <town>
    plays against <town> <when>
    sent {n} soldiers
    exports wine and salt
    was covered in snow
    had no electricity for {n} days
    attracts tourists
    joined the union <when>
    """),
    "other": lines("""
    {thing} bored <person>
    {thing} ruined <firm>
    {thing} came to <town> <when>
    {thing} and {thing} are taught in <town>
    the {thing} club of <town> has {n} members
    the house of <person> was sold to <firm>
    the widow of <person> went back to <town>
    a book by <person> was found in <town>
    the diary of <person> begins <when>
    a song about <person> is popular in <town>
    a street in <town> is named after <person>
    the grandson of <person> runs <firm>
    the debts of <firm> grew <when>
    the head office of <firm> is in <town>
    the lawyers of <firm> spoke to <person>
    the price of {ORG} shares fell <when>
    the climate of <town> suits <person>
    the hospital in <town> is full
    the train from <town> to <town> was late
    a plane on its way to <town> vanished <when>
    a {job} from <town> found it
    every {job} in <town> knows <person>
    the {job} phoned <firm>
    nobody in <town> trusts <firm>
    the people of <town> trust <person>
    the people of <town> voted against <person>
    nobody has seen <person> <when>
    we spent a week in <town>
    we flew from <town> to <town>
    I miss <town>
    I once danced with <person>
    she shares a flat with <person>
    she left <firm> for <firm>
    he compared <town> with <town>
    he forgot {DATE}, the day of the wedding
    they gave the prize to <person>
    they stopped in <town>
    an earthquake shook <town>
    heavy rain fell in <town>
    the enemy bombed <town>
    the epidemic spread from <town> to <town>
    it was cold in <town>
    {DATE} was a date to celebrate for <firm>
    the deadline of {DATE} passed
    the year {DATE} ended badly for <person>
    the firm, {ORG}, belonged to <person>
    the capital, {LOC}, was empty
    the winner, {PER}, cried
    only {n} of {n} people voted for <person>
    goods worth {n} million were stolen from <firm>
    """),
    "question": lines("""
    where does <person> live, in {LOC} or in {LOC}?
    who told <person> about <firm>?
    how far is it from {LOC} to {LOC}?
    when did <person> leave <town>?
    has <firm> ever apologised to <person>?
    is {LOC} bigger than {LOC}?
    should <firm> invest in {LOC}?
    did <person> meet <person> <when>?
    would <firm> hire <person>?
    do you know <person>?
    have you ever been to <town>?
    what became of <firm>?
    how did {thing} get to <town>?
    which {job} recommended <person>?
    """),
    "note": lines("""
    present: {PER}, {PER}, {PER}.
    sender: {PER}, {ORG}, {LOC}.
    departure {LOC} {DATE}, arrival {LOC} {DATE}.
    next stops: {LOC}, {LOC}, {LOC}.
    {LOC} ({DATE}) - <clause>.
    {PER} ({ORG}): {n} points. {PER} ({ORG}): {n} points.
    {LOC} {n}, {LOC} {n}.
    {DATE}: <clause>.
    {DATE}: <clause>. {DATE}: <clause>.
    photo: {PER}, {LOC}, {DATE}.
    for sale: house in {LOC}, ask {PER}.
    wanted: {job} for {ORG}, {LOC}.
    to: {PER}. from: {PER}. subject: {thing}.
    clients: {ORG}, {ORG}, {ORG}.
    let's meet {PER} in {LOC}.
    don't tell {PER}!
    welcome to {LOC}!
    stop {ORG}!
    {PER} versus {ORG}, decided {DATE}.
    {PER} - {job}, {LOC}.
    no news from {LOC}, {LOC} or {LOC}.
    neither <person> nor <person> <did>.
    first {LOC}, then {LOC}, now {LOC}.
    long live {PER}!
    {ORG}, est. {DATE}.
    copyright {DATE} {ORG}.
    """),
}


def template(draw: Random) -> str:
    """A template that the grammar makes."""
    text = _grow("sentence", draw)
    text = re.sub(r",+(?=[,.;:?!)])", "", text)  # an apposition's second comma, before another mark
    return re.sub(r"(?:^|[.?!] )\"?[a-z]", lambda first: first[0].upper(), text)


def _grow(name: str, draw: Random) -> str:
    return re.sub(r"<(\w+)>", lambda found: _grow(found[1], draw), draw.choice(RULES[name]))
